// A graph as one HTML file to pan, search and click through, which asks no other file and no
// network for anything. Page/ holds its markup, style and script; this file puts them together with
// the graph's JSON. Names are the model's and may hold anything: they travel as data only, escaped
// here, and the script makes text nodes of them.

import Crypto
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
  /// - Throws: ``GraftError`` for a graph that the catalogue does not know.
  public static func html(
    _ graph: Graph, stage: String, plan: MemoryPlan? = nil
  ) throws -> String {
    let document = try GraphDocument(graph, stage: stage, plan: plan).json(pretty: false)
    return try fill(
      text(PackageResources.page_html),
      [
        "policy": policy, "style": style, "script": script,
        "graph": escapedForScript(document),
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
    "(() => {\n\"use strict\";\n\n" + scripts.map(text).joined(separator: "\n") + "})();\n"

  static let style = text(PackageResources.page_css)

  /// The browser runs this one script and this one style sheet, and loads nothing: should a name
  /// ever become markup, it could still do nothing.
  static let policy =
    "default-src 'none'; script-src \(digest(script)); style-src \(digest(style)); "
    + "base-uri 'none'; form-action 'none'"

  /// The source expression of Content Security Policy Level 3, section 2.3.1.
  private static func digest(_ text: String) -> String {
    "'sha256-\(Data(SHA256.hash(data: Data(text.utf8))).base64EncodedString())'"
  }

  private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

  /// What the page says about an operator in words.
  private struct OperatorDescription: Encodable {
    var summary: String
    /// The names of the operands by position; the last stands for all that follow.
    var operands: [String]
  }

  private static func operators(of graph: Graph) throws -> String {
    var descriptions: [String: OperatorDescription] = [:]
    for opcode in Set(graph.nodes.map(\.opcode)) {
      guard let type = Catalogue.type(of: opcode) else { continue }
      descriptions[opcode.rawValue] = OperatorDescription(
        summary: type.summary, operands: type.operands.map(\.name))
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

  /// Replaces each `{{name}}` of a template once; what a value holds is not looked at again.
  private static func fill(_ template: String, _ values: [String: String]) throws -> String {
    var result = ""
    var rest = template[...]
    while let open = rest.range(of: "{{"), let close = rest[open.upperBound...].range(of: "}}") {
      let name = String(rest[open.upperBound..<close.lowerBound])
      guard let value = values[name] else {
        throw GraftError(.inconsistency, "page.html asks for \(name.quotedForDisplay)")
      }
      result += rest[..<open.lowerBound] + value
      rest = rest[close.upperBound...]
    }
    return result + rest
  }
}
