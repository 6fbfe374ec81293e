// Broadcasting to a shape. ONNX Expand, opsets 8, 13; https://onnx.ai/onnx/operators/onnx__Expand.html

import GraftDiagnostics
import GraftIR

/// y of the shape ``shape`` repeats x along the axes where x has extent 1.
///
/// - C1: x broadcasts to shape.
public struct Expand: StructuralOperator, ONNXExportable {
  public static let opcode: Opcode = "expand"
  public static let group = OperatorGroup.movement
  public static let summary = "broadcasts a tensor to a larger shape"
  public static let operands: [OperandRule] = [.required("x")]

  public var shape: TensorShape

  public init(shape: TensorShape) { self.shape = shape }
  public init(attributes: Attributes) throws { shape = try attributes.shape("shape") }
  public var attributes: Attributes { ["shape": .shape(shape)] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    try require(
      "C1", try broadcast([x.shape, shape], label: "C1") == shape,
      "\(x) does not broadcast to \(shape)")
    return [TensorType(x.dtype, shape)]
  }

  public func evaluate<Element: Sendable>(
    moving operands: [DenseTensor<Element>], extents: [[Int]]
  ) throws -> [DenseTensor<Element>] {
    let elements = try strided(
      operands[0].elements, offset: 0,
      strides: broadcastStrides(of: operands[0].shape, to: extents[0]), extents: extents[0])
    return [try DenseTensor(shape: extents[0], elements: elements)]
  }

  public static let onnx = [
    ONNXBinding("Expand", since: 8) { node in
      guard var target = try node.constantIntegers(1, named: "shape") else {
        throw GraftError(.invalidModel, "input 1 is missing")
      }
      let shape = try node.input(0).type.shape
      if let freedBatch = node.freedBatch {
        // What repeats the batch that the file fixes repeats the free one.
        for (offset, extent) in shape.dimensions.enumerated() where extent.isBatch {
          let axis = target.count - shape.rank + offset
          guard axis >= 0, let fixed = extent.extent(batch: freedBatch) else { continue }
          if target[axis] == Dimension(fixed) { target[axis] = extent }
        }
      }
      let expanded = try broadcast([shape, TensorShape(target)], label: "ONNX")
      return ImportedOperator(Expand(shape: expanded), operands: [0])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator("Expand", inputs: [.operand(0), .shape(shape)])
  }
}

extension Expand {
  public func simplified(_ node: SimplifiableNode) throws -> Simplification? {
    node.keepsType ? .operand(0) : nil
  }
}

extension Expand: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    try builder.setGradient(of: 0, summing: try builder.incoming())
  }
}

extension Expand {
  public func keeping(_ channels: KeptChannels) -> any Operator {
    Expand(shape: channels.shape(ofResult: 0, shape))
  }
}
