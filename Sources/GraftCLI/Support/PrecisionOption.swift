// The options of graft compile about the number format of layers.

import ArgumentParser
import Graft

/// `--precision`, and what quantization needs.
struct PrecisionOption: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The number format of layers: float32; bfloat16, which rounds the factors of products to it where that is faster "
        + "and sums in float32; int8, which needs --calibrate unless the bundle that is compiled again "
        + "records the ranges, and leaves layers that have no such kernel in float32; or auto, which compiles all of "
        + "these, int8 with --calibrate, measures them on this machine, and keeps the fastest, with --data only if its "
        + "accuracy is within --max-drop. (default: that of the bundle; float32 for an .onnx file)")
  )
  var precision: PrecisionChoice?

  @Option(
    help: ArgumentHelp(
      "Data like those that the network will see, of which a few hundred items determine the ranges of bytes: a folder "
        + "as for graft evaluate, or a .npy file of N x the input's shape."),
    completion: .file())
  var calibrate: String?

  @Option(
    help: ArgumentHelp(
      "How a range is chosen from the numbers seen: all of them (minmax), all but the outermost 0.01 % (percentile), "
        + "by the Kullback-Leibler divergence (entropy), or by the mean squared error (mse). (default: minmax)"
    ))
  var calibrator: CalibrationMethod?

  @Option(
    help: ArgumentHelp(
      "Labeled data as for graft evaluate, on which the drop in accuracy from float32 is measured and held within "
        + "--max-drop: int8 leaves the layers that cost most in float32.", valueName: "folder"
    ),
    completion: .directory)
  var data: String?

  @Option(
    help: ArgumentHelp(
      "The most that the top-1 accuracy on --data may drop from float32's, from 0 to 100 points. (default: 0.3)",
      valueName: "points"))
  var maxDrop: Double?

  func validate() throws {
    if data != nil, precision != .fixed(.int8), precision != .auto {
      throw ValidationError("--data is for --precision int8 and --precision auto")
    }
    if let maxDrop {
      guard data != nil else {
        throw ValidationError("--max-drop needs --data: labeled data on which to measure the drop")
      }
      guard (0...100).contains(maxDrop) else {
        throw ValidationError("--max-drop must be between 0 and 100 points")
      }
    }
    if calibrator != nil, calibrate == nil {
      throw ValidationError("--calibrator needs --calibrate: the data that determine the ranges")
    }
    if precision != .fixed(.int8), precision != .auto, calibrate != nil {
      throw ValidationError("--calibrate is for --precision int8 and --precision auto")
    }
  }

  var quantization: QuantizationOptions? {
    calibrate.map { QuantizationOptions(calibrationData: $0, method: calibrator ?? .minmax) }
  }

  var accuracy: AccuracyOptions? {
    data.map {
      var options = AccuracyOptions(data: $0)
      if let maxDrop { options.mostDrop = maxDrop }
      return options
    }
  }

  /// - Throws: `ValidationError` if nothing determines the ranges of bytes.
  func check(for model: String) throws {
    guard precision == .fixed(.int8), calibrate == nil, !ModelBundle.isBundle(at: model) else {
      return
    }
    throw ValidationError(
      "--precision int8 needs --calibrate: a folder of images, or a .npy file of inputs")
  }

  /// The precision that `model` will have.
  func effective(for model: String) throws -> Precision {
    switch precision {
    case .fixed(let precision): precision
    // float32 is what the others are compared with.
    case .auto: .float32
    case nil: try ModelBundle.precision(at: model)
    }
  }
}

/// A precision, or that which is the fastest.
enum PrecisionChoice: ExpressibleByArgument, Equatable {
  case fixed(Precision)
  case auto

  init?(argument: String) {
    if argument == "auto" {
      self = .auto
    } else if let precision = Precision(rawValue: argument) {
      self = .fixed(precision)
    } else {
      return nil
    }
  }

  static var allValueStrings: [String] { Precision.allCases.map(\.rawValue) + ["auto"] }

  var precision: Precision? {
    if case .fixed(let precision) = self { precision } else { nil }
  }
}

extension CalibrationMethod: ExpressibleByArgument {}
