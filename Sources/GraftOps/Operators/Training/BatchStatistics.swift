// Mean and variance of each channel over a batch, as normalization in training uses them.

import GraftDiagnostics
import GraftIR
import RealModule

/// mean[c] and variance[c] of x[:, c, …] over batch and space, and the variance without bias.
///
/// x [batch, channels, …]. `variance` divides by the number of elements m, `unbiased` by m − 1 (by 1 where
/// m is 1), which is what PyTorch feeds into the running variance (Ioffe and Szegedy 2015, algorithm 2).
///
/// - C1: x has rank 2 or more, a floating-point type and constant channels.
public struct BatchStatistics: RealOperator {
  public static let opcode: Opcode = "batch_statistics"
  public static let group = OperatorGroup.training
  public static let summary = "mean and variance of each channel over a batch"
  public static let operands: [OperandRule] = [.required("x")]
  public static let resultNames = ["mean", "variance", "unbiased"]

  public init() {}
  public init(attributes: Attributes) throws { self.init() }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try channelwiseType(operands, label: "C1")
    return Array(repeating: TensorType(x.dtype, [x.shape[1]]), count: 3)
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let x = try tensor(0, of: operands)
    let channels = extents[0][0]
    let count = x.elements.count / max(1, channels)
    var sums = Array(repeating: 0.0, count: channels)
    forEachChannel(x) { sums[$1] += Double($0) }
    let means = sums.map { $0 / Double(max(1, count)) }
    var squares = Array(repeating: 0.0, count: channels)
    forEachChannel(x) { value, channel in
      let difference = Double(value) - means[channel]
      squares[channel] += difference * difference
    }
    func result(_ values: [Double]) throws -> DenseTensor<Scalar> {
      try DenseTensor(shape: extents[0], elements: values.map { Scalar($0) })
    }
    return [
      try result(means), try result(squares.map { $0 / Double(max(1, count)) }),
      try result(squares.map { $0 / Double(max(1, count - 1)) }),
    ]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(
      multiplyAdds: saturatingProduct([2, elementCount(optionalOperand(0, of: operands))]))
  }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    .reducing
  }
}

/// Calls `body` with every element of x [batch, channels, …] and its channel.
func forEachChannel<Scalar>(_ x: DenseTensor<Scalar>, _ body: (Scalar, Int) -> Void) {
  let channels = x.shape[1]
  let count = x.shape.dropFirst(2).reduce(1, *)
  guard !x.elements.isEmpty else { return }
  for row in 0..<(x.elements.count / count) {
    for position in (row * count)..<((row + 1) * count) {
      body(x.elements[position], row % channels)
    }
  }
}
