// Choosing the class output of a network with several outputs, and removing the others.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Graph {
  /// The index of the output that looks most like class scores: by a size equal to the number of `labels`, an
  /// activation that computes probabilities, a name that does not mention features, the most weights before
  /// it; ties by index.
  /// - Throws: ``GraftError`` of kind `invalidGraph` for a node that no operator reads.
  public func classOutput(labels: Int?) throws -> Int {
    guard outputs.count > 1 else { return 0 }
    let ranks = try outputs.map { try classRank(of: $0, labels: labels) }
    var best = 0
    for index in ranks.indices where ranks[best].lexicographicallyPrecedes(ranks[index]) {
      best = index
    }
    return best
  }

  private func classRank(of output: GraphOutput, labels: Int?) throws -> [Int] {
    let type = type(of: output.value)
    let ending = try Ending(of: output.value, in: self)
    let rows = type.shape.dimensions.dropFirst().filter { $0 != 1 }.count
    let isRow = type.dtype.isFloatingPoint && type.rank >= 2 && rows <= 1
    let makesProbabilities =
      [.softmax, .logSoftmax].contains(ending.activation) || ending.isMultiLabel || ending.isBinary
    let name = output.name.lowercased()
    let isOfFeatures = ["feat", "embed", "hidden", "pool", "aux"].contains(where: name.contains)
    var isLinear = false
    if case .none = ending.activation { isLinear = true }
    // A head right before it, with nothing between that mixes classes or takes the mean of pixels.
    let head = try? Head(of: keepingOnly(output))
    return [
      isRow ? 1 : 0, labels != nil && ending.classes == labels ? 1 : 0, isOfFeatures ? 0 : 1,
      makesProbabilities ? 1 : 0, head != nil && isLinear ? 1 : 0, weights(before: output.value),
    ]
  }

  /// Operators with weights that a value depends on.
  private func weights(before value: ValueID) -> Int {
    var needed: Set = [value]
    var count = 0
    for node in nodes.reversed() where node.results.contains(where: needed.contains) {
      needed.formUnion(node.presentOperands)
      if Head.hasWeights(node, in: self) { count += 1 }
    }
    return count
  }

  /// The same nodes with one of the outputs.
  public func keepingOnly(_ output: GraphOutput) -> Graph {
    var graph = self
    graph.outputs = [output]
    return graph
  }

  /// The network with only the output of this name, and auxiliary ones after it, without nodes that only other outputs
  /// need.
  /// - Parameters:
  ///   - name: nil takes the one that ``classOutput(labels:)`` finds.
  ///   - auxiliary: the names of other outputs.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if there is none, with the names that there are, or if an
  ///   auxiliary output is the output itself.
  public func keepingOutput(
    _ name: String?, labels: Int?, auxiliary: [String] = []
  ) throws -> Graph {
    guard let index = try outputIndex(name, labels: labels) else { return self }
    let others = try auxiliary.map { other in
      guard let found = try outputIndex(other, labels: labels), found != index else {
        throw GraftError(
          .invalidArgument,
          "\(other.quotedForDisplay) is the output that is trained, so it is no auxiliary one",
          advice: "--output NAME chooses another.")
      }
      return outputs[found]
    }
    var graph = self
    graph.outputs = [outputs[index]] + others
    graph.removeDeadCode()
    return graph
  }

  private func outputIndex(_ name: String?, labels: Int?) throws -> Int? {
    guard let name else { return outputs.isEmpty ? nil : try classOutput(labels: labels) }
    guard let index = outputs.firstIndex(where: { $0.name == name }) else {
      throw GraftError(
        .invalidArgument, "unknown output \(name.quotedForDisplay)",
        advice: "The outputs are: "
          + "\(outputs.map(\.name.quotedForDisplay).joined(separator: ", ")).")
    }
    return index
  }
}
