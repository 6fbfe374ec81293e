// ONNX's losses as outputs of a network. Training has losses of its own.

import GraftDiagnostics
import GraftIR

extension ONNXFunction {
  static let losses: [ONNXFunction] = [
    ONNXFunction("NegativeLogLikelihoodLoss", since: 12) { f in
      [try f.negativeLogLikelihood(of: try f.input(0))]
    },
    /// The negative log likelihood of the logarithm of softmax over classes, which is the second output.
    ONNXFunction("SoftmaxCrossEntropyLoss", since: 12) { f in
      let logarithms = try f.apply(LogSoftmax(axis: 1), try f.input(0))
      let loss = try f.negativeLogLikelihood(of: logarithms)
      return f.node.outputCount > 1 ? [loss, logarithms] : [loss]
    },
  ]
}

extension FunctionBuilder {
  /// − weight[target] · x[n, target, …], 0 where the target is `ignore_index`; then nothing, the sum, or the sum
  /// divided by that of the weights. Inputs of the node: x [N, C, …], target [N, …], weight [C].
  fileprivate mutating func negativeLogLikelihood(of x: Term) throws -> Term {
    let target = try cast(try input(1), to: .int64)
    guard x.rank >= 2, target.rank == x.rank - 1, let classes = x.shape[1].constant, classes > 0
    else {
      throw GraftError(.invalidModel, "scores \(x.type) do not fit targets \(target.type)")
    }
    let ignored = try node.attributes["ignore_index"].map { _ in
      try node.int("ignore_index", default: 0)
    }
    try node.requireIndices(1, in: [1], of: x.shape, ignoring: ignored)
    let reduction = try node.string("reduction", default: "mean")
    guard ["none", "mean", "sum"].contains(reduction) else {
      throw GraftError(.invalidModel, "reduction \(reduction.quotedForDisplay) is not in ONNX")
    }
    let axes = Array(0..<target.rank)
    if reduction != "none" {
      for axis in axes where target.shape[axis].isBatch {
        throw GraftError(.unsupported, "it reduces axis \(axis), the batch")
      }
    }
    var weights = try optionalInput(2).map { try apply(Gather(axis: 0), $0, target) }
    var chosen = target
    if let ignored {
      let isIgnored = try apply(Equal(), target, try integer(ignored))
      chosen = try apply(Where(), isIgnored, try integer(0), target)
      let one = try scalar(1, like: x)
      if weights != nil {
        weights = try optionalInput(2).map { try apply(Gather(axis: 0), $0, chosen) }
      }
      weights = try apply(Where(), isIgnored, try scalar(0, like: x), weights ?? one)
    }
    var places = target.shape.dimensions
    places.insert(1, at: 1)
    let found = try apply(
      GatherElements(axis: 1), x, try reshape(chosen, to: TensorShape(places)))
    var loss = try apply(Negate(), try reshape(found, to: target.shape))
    if let weights { loss = try apply(Multiply(), loss, weights) }
    guard reduction != "none", !axes.isEmpty else { return loss }
    let sum = try apply(ReduceSum(axes: axes), loss)
    if reduction == "sum" { return sum }
    guard let weights else {
      let count = Double(target.shape.elementCount?.constant ?? 1)
      return try apply(Multiply(), sum, try scalar(1 / count, like: sum))
    }
    return try apply(Divide(), sum, try apply(ReduceSum(axes: axes), weights))
  }
}
