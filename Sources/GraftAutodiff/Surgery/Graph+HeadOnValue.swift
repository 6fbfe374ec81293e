// A new head on a value that the user names, for networks that end in features or have no head that can be replaced.
// The nodes after the value are removed.

import GraftDiagnostics
import GraftIR
import GraftOps

extension HeadReplacement {
  /// `graph` itself, or for ``on(_:)`` the graph that ends in a head of one unit on that value. The head is then
  /// replaced like any other.
  /// - Throws: ``GraftError`` as ``Graph/endingInHead(on:)``.
  public func prepared(_ graph: Graph) throws -> Graph {
    guard case .on(let name) = self else { return graph }
    return try graph.endingInHead(on: name)
  }
}

extension Graph {
  /// The graph up to a value, followed by a linear layer of one unit. The output keeps its name.
  ///
  /// The input of the layer is the value [batch, features] itself. For tokens [batch, tokens, features] it is the mean
  /// over the tokens, and for images [batch, features, height, width, …] the mean over height, width and later axes.
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
