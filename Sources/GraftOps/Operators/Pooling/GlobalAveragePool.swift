// The mean of each channel. ONNX GlobalAveragePool, opset 1;
// https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html

import GraftIR
import RealModule

/// y[n, c, 1, 1] = the mean of x[n, c, :, :]; constraints C1 and C2 of ``GlobalPooling``.
public struct GlobalAveragePool: GlobalPooling {
  public static let opcode: Opcode = "global_average_pool"
  public static let summary = "mean of each channel over all spatial axes"
  public static let onnxName = "GlobalAveragePool"

  public init() {}

  public static func reduce<Scalar: Real & BinaryFloatingPoint>(
    _ elements: ArraySlice<Scalar>
  ) -> Scalar {
    elements.reduce(0, +) / Scalar(elements.count)
  }
}

extension GlobalAveragePool: DifferentiableOperator {
  /// As an ``AveragePool`` with one window.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let x = try builder.operand(0)
    let input = try builder.pooledImage(x)
    let extents = try builder.pooledExtents(of: input)
    let image = try builder.apply(
      AveragePoolGradient(pool: AveragePool(window: Window(kernel: extents)), extents: extents),
      [try builder.pooledImage(try builder.incoming())])
    try builder.setGradient(of: 0, try builder.reshaped(image, to: builder.shape(of: x)))
  }
}
