// A graph as a table of scope, operator, shape, parameters and multiply-adds, for choosing a freeze line.

import GraftAutodiff
import GraftDiagnostics
import GraftIR
import GraftOps

/// The rows of `graft dump --summary`.
public struct GraphSummary: Sendable {
  public struct Row: Sendable {
    /// The name of the model's node, or the scope of its first parameter if that is more informative.
    public var scope: String
    public var opcode: String
    public var shape: String
    /// Elements of the parameters that only this node reads, or that it reads first.
    public var parameters: Int
    public var multiplyAdds: Int
  }

  public var rows: [Row]
  public var parameters: Int { rows.reduce(0) { $0 + $1.parameters } }
  public var multiplyAdds: Int { rows.reduce(0) { $0 + $1.multiplyAdds } }

  public init(_ graph: Graph) throws {
    // In a training step, optimizer state and statistics do not count as parameters.
    let isTraining = graph.parameters.contains { graph[$0].parameter?.isTrained == true }
    var counted = Set(
      graph.parameters.filter { id in
        guard isTraining, let parameter = graph[id].parameter else { return false }
        return !parameter.isTrained
          || TrainingInterface.StateRole(group: parameter.group) != .weight
      })
    rows = try graph.nodes.map { node in
      let weights = node.presentOperands.filter { graph[$0].parameter != nil }
      let fresh = weights.filter { counted.insert($0).inserted }
      let cost = try Catalog.operation(of: node).cost(
        operands: graph.operandTypes(of: node), results: graph.resultTypes(of: node))
      return Row(
        scope: Self.scope(of: node, weights: weights, in: graph), opcode: node.opcode.rawValue,
        shape: node.results.map { graph.type(of: $0).shape.description }.joined(separator: " "),
        parameters: fresh.reduce(0) {
          $0 + (graph.type(of: $1).shape.elementCount?.constant ?? 0)
        },
        multiplyAdds: cost.multiplyAdds)
    }
  }

  /// `layer1.0.conv1` of the parameter `layer1.0.conv1.weight`, else the node's name.
  private static func scope(of node: Node, weights: [ValueID], in graph: Graph) -> String {
    for weight in weights {
      guard var name = graph[weight].name else { continue }
      if graph[weight].parameter?.derivation != nil {
        // Parameters derived by passes have the original name with a suffix.
        name.replace(/(\.(folded|scale|shift)[^.]*)+$/, with: "")
      }
      if let dot = name.lastIndex(of: ".") { return String(name[..<dot]) }
    }
    return node.origins.first ?? ""
  }

  /// The table with aligned columns and a line of totals.
  public func text() -> String {
    let header = ["scope", "operator", "shape", "parameters", "multiply-adds"]
    let body = rows.map {
      [
        $0.scope.escapedForDisplay, $0.opcode, $0.shape, grouped($0.parameters),
        grouped($0.multiplyAdds),
      ]
    }
    let total = ["total", "\(rows.count) nodes", "", grouped(parameters), grouped(multiplyAdds)]
    let all = [header] + body + [total]
    let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    func line(_ cells: [String]) -> String {
      let padded = cells.indices.map { column in
        let blank = String(repeating: " ", count: widths[column] - cells[column].count)
        return column >= 3 ? blank + cells[column] : cells[column] + blank
      }
      return padded.joined(separator: "  ").trimmingTrailingBlanks
    }
    let rule = widths.map { String(repeating: "─", count: $0) }.joined(separator: "  ")
    return ([line(header), rule] + body.map(line) + [rule, line(total)]).joined(separator: "\n")
  }

  /// `1234567` as `1,234,567`.
  private func grouped(_ number: Int) -> String {
    var digits = Array(String(number))
    var position = digits.count - 3
    while position > 0 {
      digits.insert(",", at: position)
      position -= 3
    }
    return String(digits)
  }
}

extension String {
  var trimmingTrailingBlanks: String {
    var view = self[...]
    while view.last == " " { view.removeLast() }
    return String(view)
  }
}
