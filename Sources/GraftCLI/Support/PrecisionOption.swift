// The options of graft compile about the number format of layers.

import ArgumentParser
import Graft

/// `--precision`, and what quantization needs.
struct PrecisionOption: ParsableArguments {
  @Option(
    help:
      "The number format of layers: float32, or int8, which needs --calibrate and leaves layers that have no such kernel in float32."
  )
  var precision = Precision.float32

  @Option(
    help:
      "Data like those that the network will see, of which a few hundred items determine the ranges of bytes: a folder as for graft evaluate, or a .npy file of N x the input's shape.",
    completion: .file())
  var calibrate: String?

  @Option(
    help:
      "How a range is chosen from the numbers seen: all of them (minmax), all but the outermost 0.01 % (percentile), by the Kullback-Leibler divergence (entropy), or by the mean squared error (mse)."
  )
  var calibrator = CalibrationMethod.minmax

  func validate() throws {
    if precision == .int8, calibrate == nil {
      throw ValidationError(
        "--precision int8 needs --calibrate: a folder of images, or a .npy file of inputs")
    }
    if precision == .float32, calibrate != nil {
      throw ValidationError("--calibrate is for --precision int8")
    }
  }

  var quantization: QuantizationOptions? {
    guard precision == .int8, let calibrate else { return nil }
    return QuantizationOptions(calibrationData: calibrate, method: calibrator)
  }
}

extension Precision: ExpressibleByArgument {}
extension CalibrationMethod: ExpressibleByArgument {}
