// The number formats that a network's layers compute in.

/// The number format of a network's layers.
public enum Precision: String, CaseIterable, Codable, Sendable {
  /// float32 throughout.
  case float32
  /// Factors of products with constant weights rounded to bfloat16, sums and activations float32. Layers without
  /// such kernels, or where they are slower, stay float32.
  case bfloat16
  /// Products of 8-bit integers, activations stored in bytes; layers without such kernels stay float32.
  case int8
}

/// How the range of a value's quantization is chosen from the numbers that it was seen to have.
public enum CalibrationMethod: String, CaseIterable, Codable, Sendable {
  /// The least and the greatest number.
  case minmax
  /// Without the outermost 0.01 % of the numbers other than 0.
  case percentile
  /// The range whose quantized histogram is closest to the histogram by the Kullback–Leibler divergence (Migacz
  /// 2017).
  case entropy
  /// The range with the least mean squared error of the quantized numbers.
  case mse
}

/// How a network is put on bytes by data.
public struct QuantizationOptions: Sendable {
  /// Data like those that the network will see: a folder as for `graft evaluate`, whose classes do not matter, or a
  /// .npy file of N × the input's shape. A few hundred items are enough.
  public var calibrationData: String
  public var method: CalibrationMethod
  /// The most items to read.
  public var mostItems = 512

  public init(calibrationData: String, method: CalibrationMethod = .minmax) {
    self.calibrationData = calibrationData
    self.method = method
  }
}
