// Shared code of the two global pools: a reduction over all spatial axes.

import GraftDiagnostics
import GraftIR
import RealModule

/// A reduction over every axis after the second: x [batch, channels, …] to [batch, channels, 1, …].
///
/// - C1: x has rank 3 or more and a floating-point type.
/// - C2: the spatial axes are constant and not empty.
public protocol GlobalPooling: RealOperator, ONNXExportable, QuantizableElementwise {
  init()
  static var onnxName: String { get }
  /// Reduces the elements of one channel, of which there is at least one.
  static func reduce<Scalar: Real & BinaryFloatingPoint>(_ elements: ArraySlice<Scalar>) -> Scalar
}

extension GlobalPooling {
  public static var operands: [OperandRule] { [.required("x")] }
  public static var group: OperatorGroup { .pooling }
  public func relateChannels(_ relations: inout ChannelRelations) throws {
    relations.carry(axis: 1, axis: 1)
  }
  public init(attributes: Attributes) throws { self.init() }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    try require("C1", x.rank >= 3, "x must have spatial axes, found \(x)")
    try requireReal("C1", x)
    let spatial = x.shape.dimensions.dropFirst(2)
    try require(
      "C2", spatial.allSatisfy { ($0.constant ?? 0) > 0 },
      "the spatial axes must be constant and not empty, found \(x)")
    let ones = Array(repeating: Dimension(1), count: spatial.count)
    return [TensorType(x.dtype, TensorShape([x.shape[0], x.shape[1]] + ones))]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let x = try tensor(0, of: operands)
    let count = x.shape.dropFirst(2).reduce(1, *)
    let elements = (0..<extents[0].reduce(1, *)).map {
      Self.reduce(x.elements[($0 * count)..<(($0 + 1) * count)])
    }
    return [try DenseTensor(shape: extents[0], elements: elements)]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(optionalOperand(0, of: operands)))
  }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    .blocked
  }

  public static var onnx: [ONNXBinding] {
    [ONNXBinding(onnxName) { _ in ImportedOperator(Self(), operands: [0]) }]
  }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator { ExportedOperator(Self.onnxName, inputs: [.operand(0)]) }
}

extension GradientBuilder {
  /// A value of a pool over the whole image as [batch, channels, height, width]: where there are other
  /// spatial axes than two, these are the height, and the width is 1.
  mutating func pooledImage(_ value: ValueID) throws -> ValueID {
    let shape = shape(of: value)
    guard shape.rank != 4 else { return value }
    guard let pixels = TensorShape(Array(shape.dimensions.dropFirst(2))).elementCount else {
      throw GraftError(.unsupported, "the gradient of a global pool of \(type(of: value))")
    }
    return try reshaped(value, to: [shape[0], shape[1], pixels, 1])
  }

  /// The height and width of an image from ``pooledImage(_:)``.
  func pooledExtents(of image: ValueID) throws -> [Int] {
    let shape = shape(of: image)
    guard let height = shape[2].constant, let width = shape[3].constant else {
      throw GraftError(.unsupported, "the gradient of a global pool of \(type(of: image))")
    }
    return [height, width]
  }
}
