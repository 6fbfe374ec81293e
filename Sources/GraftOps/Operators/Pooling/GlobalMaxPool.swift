// The maximum of each channel. ONNX GlobalMaxPool, opset 1;
// https://onnx.ai/onnx/operators/onnx__GlobalMaxPool.html

import GraftIR
import RealModule

/// y[n, c, 1, 1] = the maximum of x[n, c, :, :]; constraints C1 and C2 of ``GlobalPooling``.
public struct GlobalMaxPool: GlobalPooling {
  public static let opcode: Opcode = "global_max_pool"
  public static let summary = "maximum of each channel over all spatial axes"
  public static var selectsElements: Bool { true }
  public static let onnxName = "GlobalMaxPool"

  public init() {}

  public static func reduce<Scalar: Real & BinaryFloatingPoint>(
    _ elements: ArraySlice<Scalar>
  ) -> Scalar {
    elements.reduce(-Scalar.infinity) { $1 > $0 || $1.isNaN ? $1 : $0 }
  }
}

extension GlobalMaxPool: DifferentiableOperator {
  /// As a ``MaxPool`` with one window.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let x = try builder.operand(0)
    let image = try builder.pooledImage(x)
    let pool = MaxPool(window: Window(kernel: try builder.pooledExtents(of: image)))
    let gradient = try builder.apply(
      MaxPoolGradient(pool: pool),
      [
        try builder.pooledImage(try builder.incoming()), image,
        try builder.pooledImage(builder.result()),
      ])
    try builder.setGradient(of: 0, try builder.reshaped(gradient, to: builder.shape(of: x)))
  }
}
