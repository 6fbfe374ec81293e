// The gradients of the two window pools.

import GraftDiagnostics
import GraftIR
import RealModule

/// dx of a ``MaxPool``: each window's gradient goes to its maximum, the first one in row-major
/// order if several are equal (as in PyTorch).
///
/// Operands: dy and y [batch, channels, height', width']; x [batch, channels, height, width].
///
/// - C1: the constraints of ``Pooling`` for x, window and ceil.
/// - C2: dy and y have the type of the pool's result.
public struct MaxPoolGradient: RealOperator {
  public static let opcode: Opcode = "max_pool_gradient"
  public static let group = OperatorGroup.training
  public static let summary = "gradient of max pooling"
  public static let operands: [OperandRule] = [.required("dy"), .required("x"), .required("y")]
  public static let resultNames = ["dx"]

  public var pool: MaxPool

  public init(pool: MaxPool) { self.pool = pool }
  public init(attributes: Attributes) throws { pool = try MaxPool(attributes: attributes) }
  public var attributes: Attributes { pool.attributes }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(1, of: operands)
    let y = try pool.inferTypes([x])[0]
    for index in [0, 2] {
      try requireSameType("C2", try operand(index, of: operands), Self.operands[index].name, as: y)
    }
    return [TensorType(x.dtype, x.shape)]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let (dy, x) = (try tensor(0, of: operands), try tensor(1, of: operands))
    var dx = DenseTensor<Scalar>(shape: extents[0], repeating: 0)
    pool.window.forEachTap(of: dy.shape, over: x.shape) { at, taps in
      var best: Int?
      for tap in taps where best.map({ x.elements[tap] > x.elements[$0] }) ?? true { best = tap }
      if let best { dx.elements[best] += dy.elements[at] }
    }
    return [dx]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    pool.cost(operands: [optionalOperand(1, of: operands)], results: dyType(operands))
  }

  private func dyType(_ operands: [TensorType?]) -> [TensorType] {
    optionalOperand(0, of: operands).map { [$0] } ?? []
  }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    .blocked
  }
}

/// dx of an ``AveragePool``: each window's gradient divided by its count goes to all of its elements.
///
/// dy [batch, channels, height', width'] → [batch, channels, height, width], whose last two are
/// ``extents``.
///
/// - C1: dy has rank 4 and the extents of the pool's result on an image of ``extents``.
public struct AveragePoolGradient: RealOperator {
  public static let opcode: Opcode = "average_pool_gradient"
  public static let group = OperatorGroup.training
  public static let summary = "gradient of average pooling"
  public static let operands: [OperandRule] = [.required("dy")]
  public static let resultNames = ["dx"]

  public var pool: AveragePool
  /// The height and width of the image that was pooled.
  public var extents: [Int]

  public init(pool: AveragePool, extents: [Int]) {
    self.pool = pool
    self.extents = extents
  }

  public init(attributes: Attributes) throws {
    pool = try AveragePool(attributes: attributes)
    extents = try attributes.ints("extents")
  }

  public var attributes: Attributes {
    var attributes = pool.attributes
    attributes["extents"] = .ints(extents)
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let dy = try operand(0, of: operands)
    try require(
      "C1",
      dy.rank == 4 && extents.count == 2
        && extents.allSatisfy { (1...Window.largest).contains($0) },
      "dy must have rank 4 and the image extents \(extents) must be valid, found \(dy)")
    let x = TensorType(
      dy.dtype, [dy.shape[0], dy.shape[1], Dimension(extents[0]), Dimension(extents[1])])
    try requireSameType("C1", dy, "dy", as: try pool.inferTypes([x])[0])
    return [x]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let dy = try tensor(0, of: operands)
    var dx = DenseTensor<Scalar>(shape: extents[0], repeating: 0)
    let divisors = divisors(of: dy.shape, over: extents[0])
    pool.window.forEachTap(of: dy.shape, over: extents[0]) { at, taps in
      let share = dy.elements[at] / Scalar(divisors[at % divisors.count])
      for tap in taps { dx.elements[tap] += share }
    }
    return [dx]
  }

  /// The divisor of each window of one plane, row by row.
  private func divisors(of result: [Int], over image: [Int]) -> [Int] {
    let window = pool.window
    func counts(_ axis: Int) -> [Int] {
      let limit =
        pool.countIncludePad
        ? (-window.pads[axis])..<(image[axis + 2] + window.pads[axis + 2]) : 0..<image[axis + 2]
      return (0..<result[axis + 2]).map { index in
        let start = index * window.strides[axis] - window.pads[axis]
        return (0..<window.kernel[axis]).count {
          limit.contains(start + $0 * window.dilations[axis])
        }
      }
    }
    let (rows, columns) = (counts(0), counts(1))
    return rows.flatMap { row in columns.map { max(1, row * $0) } }
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    pool.cost(
      operands: [results.first], results: optionalOperand(0, of: operands).map { [$0] } ?? [])
  }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    .blocked
  }
}

extension Window {
  /// Calls `body` for every window of a result of shape `result`, with its position there and the positions
  /// of its taps inside an image of shape `image`, in row-major order.
  func forEachTap(
    of result: [Int], over image: [Int], _ body: (Int, [Int]) -> Void
  ) {
    let (height, width) = (image[2], image[3])
    var position = 0
    for plane in 0..<(result[0] * result[1]) {
      for row in 0..<result[2] {
        for column in 0..<result[3] {
          var taps: [Int] = []
          for i in 0..<kernel[0] {
            let h = row * strides[0] - pads[0] + i * dilations[0]
            guard h >= 0, h < height else { continue }
            for j in 0..<kernel[1] {
              let w = column * strides[1] - pads[1] + j * dilations[1]
              if w >= 0, w < width { taps.append((plane * height + h) * width + w) }
            }
          }
          body(position, taps)
          position += 1
        }
      }
    }
  }
}
