// Another shape over the same elements. ONNX Reshape, opsets 5, 13, 14 (allowzero), 19, 21;
// https://onnx.ai/onnx/operators/onnx__Reshape.html

import GraftDiagnostics
import GraftIR

/// y has the elements of x in the same order and the shape ``shape``.
///
/// - C1: both shapes have the same number of elements for every batch.
public struct Reshape: ShapeChange {
  public static let opcode: Opcode = "reshape"
  public static let summary = "the same elements with another shape"

  public var shape: TensorShape

  public init(shape: TensorShape) { self.shape = shape }
  public init(attributes: Attributes) throws { shape = try attributes.shape("shape") }
  public var attributes: Attributes { ["shape": .shape(shape)] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    guard let count = x.shape.elementCount, count == shape.elementCount else {
      throw GraftError(
        .invalidGraph,
        "x \(x) and the target shape \(shape) differ in the number of elements [C1]")
    }
    return [TensorType(x.dtype, shape)]
  }

  public static let onnx = [
    ONNXBinding("Reshape") { node in
      let target: [Dimension]
      if node.opset < 5 {
        target = try node.requiredInts("shape").map { Dimension($0) }
      } else {
        guard let given = try node.constantIntegers(1, named: "shape") else {
          throw GraftError(.invalidModel, "input 1 is missing")
        }
        target = given
      }
      let shape = try resolve(
        target, of: node.input(0).type.shape,
        allowZero: node.opset >= 14 && node.flag("allowzero", default: false),
        freedBatch: node.freedBatch)
      return ImportedOperator(Reshape(shape: shape), operands: [0])
    }
  ]

  /// Resolves ONNX's 0 (the input's own extent) and -1 (what remains).
  ///
  /// A target that begins with the batch that the file fixes means the batch, where the input grows
  /// with it.
  private static func resolve(
    _ target: [Dimension], of input: TensorShape, allowZero: Bool, freedBatch: Int?
  ) throws -> TensorShape {
    func failure(_ message: String) -> GraftError {
      GraftError(.invalidModel, "the target shape \(TensorShape(target)) \(message)")
    }
    guard let count = input.elementCount else {
      throw GraftError(.unsupported, "the number of elements of \(input) cannot be expressed")
    }
    var shape = target
    var unknown: Int?
    for (axis, extent) in target.enumerated() {
      if extent == 0 && !allowZero {
        guard axis < input.rank else { throw failure("copies axis \(axis) of \(input)") }
        shape[axis] = input[axis]
      } else if extent == -1 {
        guard unknown == nil else { throw failure("has two unknown extents") }
        unknown = axis
      } else if extent.coefficient < 0 {
        throw failure("has a negative extent")
      }
    }
    if let freedBatch, count.isBatch, shape.first == Dimension(freedBatch) { shape[0] = .batch }
    guard let unknown else { return TensorShape(shape) }
    shape[unknown] = 1
    guard let others = TensorShape(shape).elementCount, let rest = count.divided(by: others) else {
      throw failure("does not divide the elements of \(input)")
    }
    shape[unknown] = rest
    return TensorShape(shape)
  }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    let x = try operand(0, of: operands).shape
    let hasZero = shape.dimensions.contains(0)
    let target = try shape.dimensions.enumerated().map { axis, extent -> Int in
      if let constant = extent.constant { return constant }
      if !hasZero && axis < x.rank && x[axis] == extent { return 0 }
      guard !hasZero else {
        throw GraftError(
          .unsupported, "ONNX cannot express the shape \(shape) with a dynamic batch")
      }
      return -1
    }
    return ExportedOperator(
      "Reshape", attributes: hasZero ? [("allowzero", .int(1))] : [],
      inputs: [.operand(0), .constant(try .vector(target))])
  }
}

extension Reshape {
  public func simplified(_ node: SimplifiableNode) throws -> Simplification? {
    if node.keepsType { return .operand(0) }
    return try node.producer(ofOperand: 0, as: Reshape.self) == nil ? nil : .merge(self)
  }
}

extension Reshape: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let shape = builder.shape(of: try builder.operand(0))
    try builder.setGradient(of: 0, try builder.reshaped(try builder.incoming(), to: shape))
  }
}

extension Reshape {
  public func keeping(_ channels: KeptChannels) -> any Operator {
    Reshape(shape: channels.shape(ofResult: 0, shape))
  }
}
