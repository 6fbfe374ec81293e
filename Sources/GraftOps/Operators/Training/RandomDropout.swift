// Dropout in training. Its mask is a function only of seed, step and element, so the backward pass
// computes it again instead of keeping it.

import GraftDiagnostics
import GraftIR
import RealModule

/// y = x / (1 − ratio) if the generator keeps the element, else 0 (Srivastava et al. 2014, inverted).
/// The gradient is the same operator on the incoming gradient.
///
/// Operands: x [batch, …]; random i32[4]: seed (low word, high word), step, 0. The element at row-major
/// position e of image n is kept if word e mod 4 of Philox4x32-10 with the key (seed low, seed high) and
/// the counter (step, stream, n, ⌊e / 4⌋) is at least ratio · 2³².
///
/// - C1: x has a floating-point type and rank 1 or more.
/// - C2: random is i32[4].
/// - C3: ratio is in 0..<1; stream in 0..<2³¹.
public struct RandomDropout: Operator {
  public static let opcode: Opcode = "random_dropout"
  public static let group = OperatorGroup.training
  public static let summary = "dropout: zeroes random elements and scales the others"
  public static let operands: [OperandRule] = [.required("x"), .required("random")]

  public var ratio: Double
  /// Tells the dropouts of one network apart.
  public var stream: Int

  public init(ratio: Double, stream: Int) {
    self.ratio = ratio
    self.stream = stream
  }

  public init(attributes: Attributes) throws {
    ratio = try attributes.float("ratio")
    stream = try attributes.int("stream")
  }

  public var attributes: Attributes { ["ratio": .float(ratio), "stream": .int(stream)] }

  /// Words below this are dropped.
  public var threshold: UInt32 { UInt32(min(max(ratio, 0), 1) * 4_294_967_295.0) }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let (x, random) = (try operand(0, of: operands), try operand(1, of: operands))
    try requireReal("C1", x)
    try require("C1", x.rank >= 1, "x must have a batch axis, found \(x)")
    try require(
      "C2", random.dtype == .int32 && random.shape == [4], "random must be i32[4], found \(random)")
    try require(
      "C3", (0..<1).contains(ratio) && (0...Int(Int32.max)).contains(stream),
      "ratio must be in 0..<1 and stream in 0..<2^31, found \(ratio) and \(stream)")
    return [TensorType(x.dtype, x.shape)]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard operands.count == 2, case .integer(let random)? = operands[1],
      random.elements.count == 4
    else { throw GraftError(.invalidGraph, "random_dropout needs x and random") }
    let words = random.elements.map { UInt32(truncatingIfNeeded: $0.coefficient) }
    switch operands[0] {
    case .float32(let x)?: return [.float32(drop(x, words))]
    case .float64(let x)?: return [.float64(drop(x, words))]
    default: throw GraftError(.invalidGraph, "random_dropout needs floating-point operands")
    }
  }

  private func drop<Scalar: BinaryFloatingPoint>(
    _ x: DenseTensor<Scalar>, _ random: [UInt32]
  ) -> DenseTensor<Scalar> {
    var y = x
    let width = max(1, x.shape.dropFirst().reduce(1, *))
    let scale = Scalar(1 / (1 - ratio))
    for position in x.elements.indices {
      let (image, element) = (position / width, position % width)
      let block = Philox4x32.block(
        key: (random[0], random[1]),
        counter: (
          random[2], UInt32(truncatingIfNeeded: stream), UInt32(truncatingIfNeeded: image),
          UInt32(truncatingIfNeeded: element / 4)
        ))
      y.elements[position] =
        block[element % 4] >= threshold ? x.elements[position] * scale : 0
    }
    return y
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(results.first))
  }

  public var overwritableOperands: [Int] { [0] }
}

extension RandomDropout: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    try builder.setGradient(
      of: 0, try builder.apply(self, [try builder.incoming(), try builder.operand(1)]))
  }
}
