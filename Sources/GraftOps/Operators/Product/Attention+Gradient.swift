// Attention as products around a softmax, for ONNX, and its gradient.

import GraftDiagnostics
import GraftIR

extension Attention {
  /// Products around a softmax, if there are no views.
  public func decomposed(_ builder: inout DecompositionBuilder) throws -> ValueID? {
    guard views == nil else { return nil }
    let q = try builder.operand(0)
    let rank = builder.shape(of: q).rank
    let factor = try builder.scalar(scale, like: q)
    let scaled = try builder.apply(Multiply(), [q, factor])
    let k = try builder.apply(Transpose.ofMatrices(rank: rank), [try builder.operand(1)])
    var scores = try builder.apply(MatrixMultiply(), [scaled, k])
    for index in 3..<5 {
      guard let addend = builder.optionalOperand(index) else { continue }
      let own = builder.shape(of: addend).rank
      let turned = try builder.apply(Transpose.ofMatrices(rank: own), [addend])
      scores = try builder.apply(Add(), [scores, turned])
    }
    let weights = try builder.apply(Softmax(axis: rank - 1), [scores])
    return try builder.apply(MatrixMultiply(), [weights, try builder.operand(2)])
  }
}

extension Attention: DifferentiableOperator {
  /// The gradients of q, k and v by ``AttentionGradient``, which needs no matrix of scores. Those of bias, mask and
  /// logsum do: ds = p · (v · dyᵀ − Σ dy · y + dlogsum), keys first, with p = exp(scores − logsum).
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    guard views == nil else {
      throw GraftError(.unsupported, "the gradient of an attention that reads views")
    }
    let addends = (3..<5).map { builder.node.operand($0) }
    let dlogsum = builder.gradient(ofResult: 1)
    let needsScores = dlogsum != nil || builder.wants(3) || builder.wants(4)
    let scores = needsScores ? try buildScores(&builder, addends) : nil
    if let scores {
      for index in 3..<5 where builder.wants(index) {
        try builder.setGradient(of: index, summing: scores.slopes)
      }
    }
    guard (0..<3).contains(where: { builder.wants($0) }) else { return }
    if let scores, dlogsum != nil { return try buildProducts(&builder, scores) }
    let gradients = try builder.applyAll(
      AttentionGradient(scale: scale),
      [try builder.incoming()] + (0..<3).map { builder.node.operand($0) }
        + [builder.result(0), builder.result(1)] + addends)
    for index in 0..<3 where builder.wants(index) {
      try builder.setGradient(of: index, gradients[index])
    }
  }

  /// Matrices of all scores, keys first: p and the gradient ds.
  private typealias Scores = (weights: ValueID, slopes: ValueID)

  private func buildScores(
    _ builder: inout GradientBuilder, _ addends: [ValueID?]
  ) throws -> Scores {
    let (q, k, v) = (try builder.operand(0), try builder.operand(1), try builder.operand(2))
    let products = try builder.apply(
      MatrixMultiply(), [k, try MatrixMultiply.transposed(q, &builder)])
    var scores = try builder.scaled(products, by: scale)
    for addend in addends.compactMap(\.self) {
      scores = try builder.apply(Add(), [scores, addend])
    }
    let queries = builder.shape(of: builder.result(1)).dimensions
    let row = TensorShape(queries.dropLast() + [1, queries[queries.count - 1]])
    let logsum = try builder.reshaped(builder.result(1), to: row)
    let weights = try builder.apply(
      Exponential(), [try builder.apply(Subtract(), [scores, logsum])])
    var parts: [ValueID] = []
    if let dy = builder.gradient(ofResult: 0) {
      let slopes = try builder.apply(
        MatrixMultiply(), [v, try MatrixMultiply.transposed(dy, &builder)])
      let products = try builder.apply(Multiply(), [dy, builder.result(0)])
      let dots = try builder.apply(
        ReduceSum(axes: [queries.count], keepsAxes: false), [products])
      parts.append(
        try builder.apply(Subtract(), [slopes, try builder.reshaped(dots, to: row)]))
    }
    if let dlogsum = builder.gradient(ofResult: 1) {
      parts.append(try builder.reshaped(dlogsum, to: row))
    }
    for part in parts.dropFirst() { parts[0] = try builder.apply(Add(), [parts[0], part]) }
    return (weights, try builder.apply(Multiply(), [weights, parts[0]]))
  }

  /// The gradients of q, k and v from those of the scores.
  private func buildProducts(_ builder: inout GradientBuilder, _ scores: Scores) throws {
    let slopes = try builder.scaled(scores.slopes, by: scale)
    if builder.wants(0) {
      let turned = try MatrixMultiply.transposed(slopes, &builder)
      try builder.setGradient(
        of: 0, try builder.apply(MatrixMultiply(), [turned, try builder.operand(1)]))
    }
    if builder.wants(1) {
      try builder.setGradient(
        of: 1, try builder.apply(MatrixMultiply(), [slopes, try builder.operand(0)]))
    }
    if builder.wants(2), let dy = builder.gradient(ofResult: 0) {
      try builder.setGradient(
        of: 2, try builder.apply(MatrixMultiply(), [scores.weights, dy]))
    }
  }

}
