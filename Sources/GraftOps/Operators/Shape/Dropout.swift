// Dropout as it is when a network answers: nothing. It stays a node until passes remove it, so that
// exporting gives back what was imported. ONNX Dropout, opsets 7, 10, 12 (ratio and training mode as
// inputs), 13; https://onnx.ai/onnx/operators/onnx__Dropout.html

import GraftDiagnostics
import GraftIR

/// y = x, of any floating-point shape; ``ratio`` is the fraction that training would set to zero.
///
/// - C1: x has a floating-point type.
/// - C2: ratio is in 0..<1.
public struct Dropout: PassThrough, ONNXExportable {
  public static let opcode: Opcode = "dropout"
  public static let summary = "x itself; dropout applies only in training"

  public var ratio: Double

  public init(ratio: Double = 0.5) { self.ratio = ratio }
  public init(attributes: Attributes) throws { ratio = try attributes.float("ratio") }
  public var attributes: Attributes { ["ratio": .float(ratio)] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    try requireReal("C1", x)
    try require("C2", (0..<1).contains(ratio), "ratio must be in 0..<1, found \(ratio)")
    return [TensorType(x.dtype, x.shape)]
  }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    .blocked
  }

  public var overwritableOperands: [Int] { [0] }
  public var isView: Bool { true }
  /// Two dropouts of one value drop different elements.
  public static let isRandom = true
  public func simplified(_ node: SimplifiableNode) throws -> Simplification? {
    node.isTraining ? nil : .operand(0)
  }

  // The mask output has no result here: the importer refuses a node that reads it.
  public static let onnx = [
    ONNXBinding("Dropout", opsets: 1...11) { node in
      ImportedOperator(Dropout(ratio: try node.float("ratio", default: 0.5)), operands: [0])
    },
    ONNXBinding("Dropout", since: 12) { node in
      let ratio = try node.constantScalar(1, named: "ratio")?.real ?? 0.5
      var imported = ImportedOperator(Dropout(ratio: ratio), operands: [0])
      if case let training? = try node.constantScalar(2, named: "training_mode") {
        imported.isInTrainingMode = training.whole != 0
      }
      return imported
    },
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    let ratio = try ScalarConstant.real(ratio).data(.float32, shape: [])
    return ExportedOperator("Dropout", inputs: [.operand(0), .constant(ratio)])
  }
}

extension Dropout: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    try builder.setGradient(of: 0, try builder.incoming())
  }
}
