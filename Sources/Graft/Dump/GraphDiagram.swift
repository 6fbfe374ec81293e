// A graph as a Graphviz drawing. Names from the model are untrusted, so every label goes through one escaping
// function.

import Foundation
import GraftCodegen
import GraftDiagnostics
import GraftIR
import GraftOps

/// Draws graphs in DOT, and as SVG if Graphviz is installed.
public enum GraphDiagram {
  /// The DOT text: one box per node with the names of its origins, edges labeled with shapes.
  /// - Parameter moment: the training step of the graph, if it is one: phases are framed, recomputed nodes
  ///   dashed, and the frozen operators are one box before the cached values.
  public static func dot(_ graph: Graph, of moment: TrainingStage? = nil) -> String {
    var lines = [
      "digraph graft {",
      "  graph [label=\(quoted(graph.name)), labelloc=t, fontname=\"Helvetica\", fontsize=16];",
      "  node [shape=box, style=\"rounded,filled\", fontname=\"Helvetica\", fontsize=11,"
        + " fillcolor=\"#f2f4f8\", color=\"#8895a7\"];",
      "  edge [fontname=\"Helvetica\", fontsize=9, color=\"#67727e\", fontcolor=\"#67727e\"];",
    ]
    let numbers = graph.makeValueNumbers()
    func box(of value: ValueID) -> String {
      if let node = graph.producer(of: value) { return "n\(node.id.index)" }
      return "v\(numbers[value] ?? 0)"
    }
    let cached = Set(moment?.cached.map(\.name) ?? [])
    if let moment, !moment.frozen.isEmpty {
      let parameters = moment.frozen.reduce(0) { $0 + $1.parameters }
      lines.append(
        "  frozen [shape=folder, fillcolor=\"#e3e8ee\", label="
          + quoted("frozen\n\(moment.frozen.count) operators\n\(parameters) parameters") + "];")
    }
    for id in graph.inputs {
      let isCached = cached.contains(graph[id].name ?? "")
      if isCached, moment?.frozen.isEmpty == false {
        lines.append("  frozen -> \(box(of: id)) [label=\"once per image\"];")
      }
      lines.append(
        "  \(box(of: id)) [shape=\(isCached ? "cylinder" : "ellipse"), fillcolor=\"#dcecdc\", label="
          + "\(quoted("\(graph[id].name ?? "")\n\(graph[id].type)"))];")
    }
    let recomputed = moment?.recomputed ?? []
    for (index, node) in graph.nodes.enumerated() {
      let isRecomputed = recomputed.indices.contains(index) && recomputed[index]
      lines.append(
        "  n\(node.id.index) [fillcolor=\"\(color(of: node.opcode))\", "
          + (isRecomputed ? "style=\"rounded,filled,dashed\", " : "")
          + "label=\(quoted(label(of: node, in: graph) + (isRecomputed ? "\nrecomputed" : "")))];")
      for operand in node.presentOperands where graph[operand].parameter == nil {
        lines.append(
          "  \(box(of: operand)) -> n\(node.id.index) [label="
            + "\(quoted(graph.type(of: operand).description))];")
      }
    }
    for (index, output) in graph.outputs.enumerated() {
      lines.append(
        "  o\(index) [shape=ellipse, fillcolor=\"#f3dede\", label=\(quoted(output.name))];")
      lines.append(
        "  \(box(of: output.value)) -> o\(index) [label="
          + "\(quoted(graph.type(of: output.value).description))];")
    }
    if let moment {
      for phase in TrainingStage.Phase.allCases {
        let own = zip(graph.nodes, moment.phases).filter { $1 == phase }.map { "n\($0.0.id.index)" }
        lines.append(
          "  subgraph cluster_\(phase.rawValue) { label=\"\(phase.rawValue)\"; color=\"#8895a7\"; "
            + "fontname=\"Helvetica\"; \(own.joined(separator: "; ")) }")
      }
    }
    lines.append("}")
    return lines.joined(separator: "\n") + "\n"
  }

  /// The drawing as SVG, made by Graphviz' `dot`.
  /// - Throws: ``GraftError`` of kind `toolchain` if it is not installed or fails.
  public static func svg(_ graph: Graph, of moment: TrainingStage? = nil) throws -> String {
    guard let program = Subprocess.find("dot") else {
      throw GraftError(
        .toolchain, "dot is not on PATH",
        advice: "Install Graphviz (Debian: apt-get install graphviz), or use --format dot.")
    }
    let result = try Subprocess.run(program, ["-Tsvg"], input: dot(graph, of: moment))
    guard result.status == 0 else {
      let first = result.errors.split(separator: "\n").first.map(String.init) ?? ""
      throw GraftError(
        .toolchain, "dot failed with status \(result.status): \(first.escapedForDisplay)")
    }
    return result.output
  }

  private static func label(of node: Node, in graph: Graph) -> String {
    var text = node.opcode.rawValue
    if let activation = try? node.attributes.string("activation") { text += " + \(activation)" }
    if let weights = node.presentOperands.first(where: { graph[$0].parameter != nil }) {
      text += "\n\(graph.type(of: weights).shape)"
    }
    if let first = node.origins.first {
      let more = node.origins.count > 1 ? " +\(node.origins.count - 1)" : ""
      text += "\n\(first.escapedForDisplay)\(more)"
    }
    return text
  }

  private static func color(of opcode: Opcode) -> String {
    switch Catalog.type(of: opcode)?.group {
    case .convolution: "#cfe2f3"
    case .matrix: "#d9d2e9"
    case .pooling: "#fff2cc"
    case .movement: "#eeeeee"
    default: "#f2f4f8"
    }
  }

  private static func quoted(_ text: String) -> String {
    let escaped = text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
      .replacing("\r", with: " ").replacing("\n", with: "\\n").replacing("\0", with: " ")
    return "\"\(escaped)\""
  }
}
