// A graph as one HTML file to pan, search and click through, which asks no other file and no
// network for anything. Page/ holds its markup, style and script; this file puts them together with
// the graph's JSON. Names are the model's and may hold anything: they travel as data only, escaped
// here, and the script makes text nodes of them.

import Foundation
import GraftDiagnostics
import GraftIR
import GraftOps

/// The page of `graft dump --format html`.
public enum GraphPage {
  /// The page as text, the same for the same graph.
  /// - Parameters:
  ///   - stage: the name that `graft dump --stage` gives it.
  ///   - plan: adds a map of the memory, steps by addresses.
  /// - Throws: ``GraftError`` for a graph that the catalog does not know.
  public static func html(
    _ graph: Graph, stage: String, plan: MemoryPlan? = nil
  ) throws -> String {
    try html(graph, GraphDocument(graph, stage: stage, plan: plan))
  }

  /// The page of a training step: phases tell boxes apart, and the panel lists what is frozen and cached.
  /// - Throws: ``GraftError`` as ``html(_:stage:plan:)``.
  public static func html(_ moment: TrainingMoment) throws -> String {
    try html(moment.graph, GraphDocument(moment))
  }

  private static func html(_ graph: Graph, _ document: GraphDocument) throws -> String {
    try PageTemplate.fill(
      PageTemplate.text(PackageResources.page_html),
      [
        "policy": policy, "style": style, "script": script,
        "graph": escapedForScript(try document.json(pretty: false)),
        "operators": escapedForScript(try operators(of: graph)),
      ])
  }

  /// The scripts in the order in which each finds what it uses; the last one starts the page.
  private static let scripts = [
    PackageResources.format_js, PackageResources.model_js, PackageResources.layers_js,
    PackageResources.crossings_js, PackageResources.placement_js, PackageResources.layout_js,
    PackageResources.dom_js, PackageResources.viewport_js, PackageResources.graphview_js,
    PackageResources.minimap_js, PackageResources.search_js, PackageResources.panel_js,
    PackageResources.memoryview_js, PackageResources.app_js,
  ]

  static let script =
    "(() => {\n\"use strict\";\n\n" + scripts.map(PageTemplate.text).joined(separator: "\n")
    + "})();\n"

  static let style = PageTemplate.text(PackageResources.page_css)

  /// The browser runs this one script and this one style sheet, and loads nothing: should a name
  /// ever become markup, it could still do nothing.
  static let policy =
    "default-src 'none'; script-src \(PageTemplate.digest(script)); style-src \(PageTemplate.digest(style)); "
    + "base-uri 'none'; form-action 'none'"

  /// What the page says about an operator in words.
  private struct OperatorDescription: Encodable {
    var summary: String
    /// The names of the operands by position; the last stands for all that follow.
    var operands: [String]
    /// An ``OperatorGroup``.
    var group: String
  }

  private static func operators(of graph: Graph) throws -> String {
    var descriptions: [String: OperatorDescription] = [:]
    for opcode in Set(graph.nodes.map(\.opcode)) {
      guard let type = Catalog.type(of: opcode) else { continue }
      descriptions[opcode.rawValue] = OperatorDescription(
        summary: type.summary, operands: type.operands.map(\.name), group: type.group.rawValue)
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    return String(decoding: try encoder.encode(descriptions), as: UTF8.self)
  }

  /// JSON that means the same inside a `script` element, which ends at the first `</script`
  /// whatever surrounds it, and which `<!--` opens a second time. Outside strings JSON has none of
  /// these characters, and inside them an escape says the same.
  static func escapedForScript(_ json: String) -> String {
    var result = ""
    result.reserveCapacity(json.utf8.count)
    for scalar in json.unicodeScalars {
      switch scalar {
      case "<", ">", "&", "\u{2028}", "\u{2029}":
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}
