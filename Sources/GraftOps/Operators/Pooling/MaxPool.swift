// Maximum over a sliding window. ONNX MaxPool, opsets 8 (storage_order, Indices), 10 (ceil_mode,
// dilations), 11, 12; https://onnx.ai/onnx/operators/onnx__MaxPool.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y[n, c, i, j] = the maximum of the window at (i, j); padding is ignored.
///
/// x [batch, channels, height, width]; constraints C1 to C4 of ``Pooling``.
public struct MaxPool: Pooling {
  public static let opcode: Opcode = "max_pool"
  public static let summary = "maximum over a sliding window"
  public static var selectsElements: Bool { true }

  public var window: Window
  public var ceil: Bool

  public init(window: Window, ceil: Bool = false) {
    self.window = window
    self.ceil = ceil
  }

  public init(attributes: Attributes) throws {
    window = try Window(attributes: attributes)
    ceil = try attributes.bool("ceil", default: false)
  }

  public var attributes: Attributes {
    var attributes = window.attributes
    if ceil { attributes["ceil"] = .bool(true) }
    return attributes
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    [
      reduceWindows(
        try tensor(0, of: operands), to: extents[0], initial: -Scalar.greatestFiniteMagnitude,
        combine: { $1 > $0 || $1.isNaN ? $1 : $0 }, finish: { value, _, _ in value })
    ]
  }

  public static let onnx = [
    ONNXBinding("MaxPool") { node in
      guard node.readOutputCount <= 1 else {
        throw GraftError(
          .unsupported, "its second output, the indices of the maxima, has readers")
      }
      return ImportedOperator(
        MaxPool(
          window: try Window.readPool(node), ceil: try node.flag("ceil_mode", default: false)),
        operands: [0])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator("MaxPool", attributes: onnxAttributes, inputs: [.operand(0)])
  }
}

extension MaxPool: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    try builder.setGradient(
      of: 0,
      try builder.apply(
        MaxPoolGradient(pool: self),
        [try builder.incoming(), try builder.operand(0), builder.result()]))
  }
}

extension MaxPool: PaddingFolding {
  public func folding(
    pads added: [Int], of value: Double, isNonNegative: Bool
  ) -> (any Operator)? {
    guard value == -.infinity || (value == 0 && isNonNegative) else { return nil }
    var pool = self
    pool.window.pads = zip(window.pads, added).map { $0 + $1 }
    return pool
  }
}
