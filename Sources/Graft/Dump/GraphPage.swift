// A graph as one self-contained interactive HTML file. Page/ has its markup, style and script; this file
// combines them with the graph's JSON. Names from the model are untrusted: they are passed only as escaped
// data, from which the script creates text nodes.

import Foundation
import GraftDiagnostics
import GraftIR
import GraftOps

/// The page of `graft dump --format html`.
public enum GraphPage {
  /// The page as text, the same for the same graph.
  /// - Parameters:
  ///   - stage: the name of the stage in `graft dump --stage`.
  ///   - plan: the memory plan, shown as a map of steps by addresses.
  /// - Throws: ``GraftError`` for a graph with operators that are not in the catalog.
  public static func html(
    _ graph: Graph, stage: String, plan: MemoryPlan? = nil
  ) throws -> String {
    try html(graph, GraphDocument(graph, stage: stage, plan: plan))
  }

  /// The page of a training step: nodes are colored by phase, and the panel lists frozen operators and cached
  /// values.
  /// - Throws: ``GraftError`` as ``html(_:stage:plan:)``.
  public static func html(_ moment: TrainingStage) throws -> String {
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

  /// The scripts in dependency order; the last one starts the page.
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

  /// The browser runs only this script and style sheet and loads nothing, so that even a name that became
  /// markup could not do anything.
  static let policy =
    "default-src 'none'; script-src \(PageTemplate.digest(script)); style-src \(PageTemplate.digest(style)); "
    + "base-uri 'none'; form-action 'none'"

  /// The description of an operator on the page.
  private struct OperatorDescription: Encodable {
    var summary: String
    /// The names of the operands by position; the last one also applies to all that follow.
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

  /// JSON escaped for a `script` element, in which `</script` and `<!--` have a meaning. These characters
  /// occur only in JSON strings, where they can be escaped.
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
