// A head on a value that the user names, for networks whose own ending is none: what comes after the value is left out.

import GraftDiagnostics
import GraftIR
import GraftOps

extension HeadReplacement {
  /// `graph`, or what is left of it with a head of one unit on the value that this names, which is then replaced.
  /// - Throws: ``GraftError`` as ``Graph/endingInHead(on:)``.
  public func prepared(_ graph: Graph) throws -> Graph {
    guard case .on(let name) = self else { return graph }
    return try graph.endingInHead(on: name)
  }
}

extension Graph {
  /// The graph up to a value, and a linear layer of one unit that reads it. Its result has the name of the output.
  ///
  /// Of tokens [batch, tokens, features] the layer reads the mean over the tokens; of images [batch, features, …] of
  /// rank 4 or more the mean over all other axes.
  /// - Parameter name: the name of the value, or of the node that makes it.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if there is no such value, or it has no features.
  func endingInHead(on name: String) throws -> Graph {
    let producer =
      nodes.first { node in node.results.contains { self[$0].name == name } }
      ?? nodes.first { $0.origins.contains(name) }
    guard let producer,
      let value = producer.results.first(where: { self[$0].name == name }) ?? producer.results.first
    else {
      throw GraftError(
        .invalidArgument, "the network has no value \(name.quotedForDisplay) for a head to read",
        advice:
          "--head is linear, mlp:K, keep, or the name of a value, as graft dump --stage import "
          + "shows it.")
    }
    let type = type(of: value)
    guard type.dtype == .float32, type.rank >= 2, type.shape[0] == .batch,
      type.shape.dimensions.dropFirst().allSatisfy({ $0.constant != nil }),
      let features = type.shape[type.rank == 3 ? 2 : 1].constant, features > 0
    else {
      throw GraftError(
        .invalidArgument,
        "the value \(name.quotedForDisplay) is \(type), but a head reads float32 features of every item",
        at: location(of: producer))
    }
    var graph = self
    var x = value
    if type.rank > 2 {
      let axes = type.rank == 3 ? [1] : Array(2..<type.rank)
      x = try graph.append(
        ReduceMean(axes: axes, keepsAxes: false), [value], origins: ["head.mean"])[0]
    }
    func zeros(_ base: String, _ shape: [Int]) throws -> ValueID {
      graph.addParameter(
        graph.unusedName(base), TensorType(.float32, TensorShape(shape)),
        Parameter(data: try TensorData(zeros: shape)))
    }
    let operands = [x, try zeros("head.weight", [1, features]), try zeros("head.bias", [1])]
    let made = try graph.append(Gemm(transposesB: true), operands, origins: ["head"])[0]
    graph.outputs = [GraphOutput(name: outputs.first?.name ?? "output", value: made)]
    graph.removeDeadCode()
    return graph
  }
}
