// ONNX's normalizations by statistics of the tensor itself, made of means and products.

import GraftDiagnostics
import GraftIR

extension ONNXFunction {
  static let normalizations: [ONNXFunction] = [
    /// Images of one, three or more axes as images of height 1: only channels matter (Krizhevsky et al. 2012).
    ONNXFunction("LRN") { f in
      let x = try f.input(0)
      guard x.rank == 3 || x.rank > 4,
        let pixels = TensorShape(Array(x.shape.dimensions.dropFirst(2))).elementCount
      else { return nil }
      let flat = try f.reshape(x, to: [x.shape[0], x.shape[1], 1, pixels])
      let y = try f.apply(try LocalResponseNormalization(f.node), flat)
      return [try f.reshape(y, to: x.shape)]
    },
    /// Each channel of each image over its pixels (Ulyanov et al. 2016).
    ONNXFunction("InstanceNormalization") { f in
      let x = try f.input(0)
      guard x.rank >= 3, x.type.dtype.isFloatingPoint else { return nil }
      let epsilon = try f.node.float("epsilon", default: Double(Float(1e-5)))
      let y = try f.standardized(x, over: Array(2..<x.rank), epsilon: epsilon)
      return [
        try f.scaledAndShifted(
          y, try f.perChannel(try f.input(1), of: x), try f.perChannel(try f.input(2), of: x))
      ]
    },
    /// Groups of channels of each image together (Wu and He 2018). Before opset 21 scale and bias have a number
    /// for each group, then one for each channel.
    ONNXFunction("GroupNormalization", since: 18) { f in
      let x = try f.input(0)
      let groups = try f.node.int("num_groups", default: 0)
      guard x.rank >= 2, let channels = x.shape[1].constant, groups > 0,
        channels.isMultiple(of: groups)
      else {
        throw GraftError(.invalidModel, "\(x.type) does not divide into \(groups) groups")
      }
      guard try f.node.int("stash_type", default: 1) == 1 else {
        throw GraftError(.unsupported, "statistics are computed in float32: stash_type must be 1")
      }
      let pixels = x.shape.dimensions[2...]
      let grouped = try f.reshape(
        x,
        to: TensorShape([x.shape[0], Dimension(groups), Dimension(channels / groups)] + pixels))
      var y = try f.standardized(
        grouped, over: Array(2..<grouped.rank),
        epsilon: try f.node.float("epsilon", default: Double(Float(1e-5))))
      let (scale, bias) = (try f.input(1), try f.input(2))
      if f.node.opset < 21 {
        y = try f.scaledAndShifted(
          y, try f.perChannel(scale, of: grouped), try f.perChannel(bias, of: grouped))
        return [try f.reshape(y, to: x.shape)]
      }
      y = try f.reshape(y, to: x.shape)
      return [
        try f.scaledAndShifted(y, try f.perChannel(scale, of: x), try f.perChannel(bias, of: x))
      ]
    },
    ONNXFunction("MeanVarianceNormalization", since: 9) { f in
      let x = try f.input(0)
      let axes = try (try f.node.optionalInts("axes") ?? [0, 2, 3]).map { try x.shape.axis($0) }
      try f.node.refuseBatch(among: axes)
      let centered = try f.centered(x, over: axes.sorted())
      let variance = try f.apply(
        ReduceMean(axes: axes.sorted()), try f.apply(Multiply(), centered, centered))
      let deviation = try f.apply(
        Add(), try f.apply(SquareRoot(), variance), try f.scalar(1e-9, like: x))
      return [try f.apply(Divide(), centered, deviation)]
    },
    /// x / ‖x‖ along one axis, the norm being that of the absolute values (p = 1) or Euclid's (p = 2).
    ONNXFunction("LpNormalization") { f in
      let x = try f.input(0)
      let axis = try x.shape.axis(try f.node.int("axis", default: -1))
      try f.node.refuseBatch(among: [axis])
      let norm: FunctionBuilder.Term
      switch try f.node.int("p", default: 2) {
      case 1:
        norm = try f.apply(
          ReduceSum(axes: [axis], keepsAxes: true), try f.apply(AbsoluteValue(), x))
      case 2:
        let squares = try f.apply(Multiply(), x, x)
        norm = try f.apply(
          SquareRoot(), try f.apply(ReduceSum(axes: [axis], keepsAxes: true), squares))
      case let p: throw GraftError(.invalidModel, "p is \(p), expected 1 or 2")
      }
      // Zeros stay zeros.
      let zero = try f.scalar(0, like: x)
      let isZero = try f.apply(Equal(), norm, zero)
      return [try f.apply(Where(), isZero, zero, try f.apply(Divide(), x, norm))]
    },
    /// x / √(mean(x²) + epsilon) · scale over the last axes (Zhang and Sennrich 2019).
    ONNXFunction("RMSNormalization", since: 23) { f in
      let x = try f.input(0)
      guard try f.node.int("stash_type", default: 1) == 1 else {
        throw GraftError(.unsupported, "statistics are computed in float32: stash_type must be 1")
      }
      let axis = try x.shape.axis(try f.node.int("axis", default: -1))
      let axes = Array(axis..<x.rank)
      try f.node.refuseBatch(among: axes)
      let squares = try f.apply(ReduceMean(axes: axes), try f.apply(Multiply(), x, x))
      let deviation = try f.deviation(
        squares, epsilon: try f.node.float("epsilon", default: Double(Float(1e-5))))
      return [
        try f.apply(Multiply(), try f.apply(Divide(), x, deviation), try f.input(1))
      ]
    },
  ]
}

extension FunctionBuilder {
  mutating func centered(_ x: Term, over axes: [Int]) throws -> Term {
    try apply(Subtract(), x, try apply(ReduceMean(axes: axes), x))
  }

  /// √(variance + epsilon)
  mutating func deviation(_ variance: Term, epsilon: Double) throws -> Term {
    try apply(SquareRoot(), try apply(Add(), variance, try scalar(epsilon, like: variance)))
  }

  /// (x − mean) / √(variance + epsilon) over ``axes``.
  mutating func standardized(_ x: Term, over axes: [Int], epsilon: Double) throws -> Term {
    guard !axes.isEmpty else { return try apply(Subtract(), x, x) }
    let centered = try centered(x, over: axes)
    let variance = try apply(
      ReduceMean(axes: axes), try apply(Multiply(), centered, centered))
    return try apply(Divide(), centered, try deviation(variance, epsilon: epsilon))
  }

  /// A vector of channels as it broadcasts to x, [batch, channels, …].
  mutating func perChannel(_ vector: Term, of x: Term) throws -> Term {
    guard vector.rank == 1, vector.shape[0] == x.shape[1] else {
      throw GraftError(.invalidModel, "\(vector.type) has no number for each channel of \(x.type)")
    }
    return try reshape(
      vector,
      to: TensorShape(vector.shape.dimensions + Array(repeating: Dimension(1), count: x.rank - 2)))
  }

  mutating func scaledAndShifted(_ x: Term, _ scale: Term, _ shift: Term) throws -> Term {
    try apply(Add(), try apply(Multiply(), x, scale), shift)
  }
}
