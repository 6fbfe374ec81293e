// Zeros between the pixels of an image: how the gradient of a strided convolution begins.

import GraftDiagnostics
import GraftIR
import RealModule

/// y[n, c, h · stride height, w · stride width] = x[n, c, h, w]; every other pixel of y, whose height and
/// width are ``extents``, is zero.
///
/// - C1: x has rank 4 and constant height and width.
/// - C2: strides are positive, and the last pixel of x is inside y.
public struct InsertZeros: RealOperator {
  public static let opcode: Opcode = "insert_zeros"
  public static let group = OperatorGroup.training
  public static let summary = "inserts zeros between the pixels of an image"
  public static let operands: [OperandRule] = [.required("x")]

  /// [height, width]
  public var strides: [Int]
  /// The height and width of y.
  public var extents: [Int]

  public init(strides: [Int], extents: [Int]) {
    self.strides = strides
    self.extents = extents
  }

  public init(attributes: Attributes) throws {
    strides = try attributes.ints("strides")
    extents = try attributes.ints("extents")
  }

  public var attributes: Attributes { ["strides": .ints(strides), "extents": .ints(extents)] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    try requireReal("C1", x)
    guard x.rank == 4, let height = x.shape[2].constant, let width = x.shape[3].constant else {
      throw GraftError(.invalidGraph, "x must be an image of constant size, found \(x) [C1]")
    }
    let fits =
      strides.count == 2 && extents.count == 2
      && zip([height, width], zip(strides, extents)).allSatisfy { size, step in
        guard (1...Window.largest).contains(step.0), size > 0, size <= Window.largest else {
          return false
        }
        return (size - 1) * step.0 < step.1
      }
    try require(
      "C2", fits, "\(height)x\(width) pixels with strides \(strides) do not fit in \(extents)")
    return [
      TensorType(x.dtype, [x.shape[0], x.shape[1], Dimension(extents[0]), Dimension(extents[1])])
    ]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let x = try tensor(0, of: operands)
    var y = DenseTensor<Scalar>(shape: extents[0], repeating: 0)
    let (height, width) = (x.shape[2], x.shape[3])
    for plane in 0..<(x.shape[0] * x.shape[1]) {
      for row in 0..<height {
        for column in 0..<width {
          let to = (plane * extents[0][2] + row * strides[0]) * extents[0][3] + column * strides[1]
          y.elements[to] = x.elements[(plane * height + row) * width + column]
        }
      }
    }
    return [y]
  }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    .blocked
  }
}
