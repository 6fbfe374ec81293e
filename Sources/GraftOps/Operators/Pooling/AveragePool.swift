// Mean over a sliding window. ONNX AveragePool, opsets 7, 10 (ceil_mode), 11, 19 (dilations);
// https://onnx.ai/onnx/operators/onnx__AveragePool.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y[n, c, i, j] = the mean of the window at (i, j).
///
/// x [batch, channels, height, width]; constraints C1 to C4 of ``Pooling``. The divisor counts
/// the window's elements inside the image, or with ``countIncludePad`` inside the padded image: what a
/// last window of `ceil` reaches beyond that never counts.
public struct AveragePool: Pooling {
  public static let opcode: Opcode = "average_pool"
  public static let summary = "mean over a sliding window"

  public var window: Window
  public var ceil: Bool
  public var countIncludePad: Bool

  public init(window: Window, ceil: Bool = false, countIncludePad: Bool = false) {
    self.window = window
    self.ceil = ceil
    self.countIncludePad = countIncludePad
  }

  public init(attributes: Attributes) throws {
    window = try Window(attributes: attributes)
    ceil = try attributes.bool("ceil", default: false)
    countIncludePad = try attributes.bool("count_include_pad", default: false)
  }

  public var attributes: Attributes {
    var attributes = window.attributes
    if ceil { attributes["ceil"] = .bool(true) }
    if countIncludePad { attributes["count_include_pad"] = .bool(true) }
    return attributes
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    [
      reduceWindows(
        try tensor(0, of: operands), to: extents[0], initial: 0, combine: +,
        finish: { sum, inside, padded in
          inside == 0 ? 0 : sum / Scalar(countIncludePad ? padded : inside)
        })
    ]
  }

  public static let onnx = [
    ONNXBinding("AveragePool") { node in
      ImportedOperator(
        AveragePool(
          window: try Window.readPool(node), ceil: try node.flag("ceil_mode", default: false),
          countIncludePad: try node.flag("count_include_pad", default: false)),
        operands: [0])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator(
      "AveragePool",
      attributes: onnxAttributes + [("count_include_pad", .int(countIncludePad ? 1 : 0))],
      inputs: [.operand(0)], since: window.dilations == [1, 1] ? nil : 19)
  }
}

extension AveragePool: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let shape = builder.shape(of: try builder.operand(0))
    guard let height = shape[2].constant, let width = shape[3].constant else {
      throw GraftError(.unsupported, "an image without a constant size")
    }
    try builder.setGradient(
      of: 0,
      try builder.apply(
        AveragePoolGradient(pool: self, extents: [height, width]), [try builder.incoming()]))
  }
}

extension AveragePool: PaddingFolding {
  /// Then it counts its padding, since to it the zeros were elements like any other.
  public func folding(
    pads added: [Int], of value: Double, isNonNegative: Bool
  ) -> (any Operator)? {
    guard value == 0, countIncludePad || window.pads.allSatisfy({ $0 == 0 }) else { return nil }
    var pool = self
    pool.window.pads = zip(window.pads, added).map { $0 + $1 }
    pool.countIncludePad = true
    return pool
  }
}
