// The manifest's entry of a network on bytes. The ranges of its values are a file of their own.

import GraftDiagnostics

extension Manifest {
  /// How the layers were put on bytes.
  public struct Quantization: Codable, Sendable, Equatable {
    /// A layer that stays float32 because quantizing it costs too much accuracy.
    public struct KeptLayer: Codable, Sendable, Equatable {
      /// The imported nodes that the layer computes.
      public var layer: String
      /// The key of its result among the ranges.
      public var value: String
      public var reason: String

      public init(layer: String, value: String, reason: String) {
        self.layer = layer
        self.value = value
        self.reason = reason
      }
    }

    /// The number format of the layers that have such kernels.
    public var precision: Precision
    public var calibrator: CalibrationMethod
    /// The number of items that the ranges were taken from.
    public var items: Int
    /// Absent if there are none.
    public var kept: [KeptLayer]?

    init(_ record: QuantizationRecord) {
      precision = .int8
      calibrator = record.method
      items = record.items
      kept = record.kept.isEmpty ? nil : record.kept
    }

    /// - Throws: ``GraftError`` of kind `invalidBundle` for values that no compiler writes.
    func check() throws {
      guard precision == .int8 else {
        throw GraftError(
          .invalidBundle, "the manifest has quantization to \(precision.rawValue), expected int8",
          advice: "Recompile the model.")
      }
      guard items > 0 else {
        throw GraftError(
          .invalidBundle, "the manifest's quantization has ranges of \(items) items",
          advice: "Recompile the model.")
      }
    }
  }

  /// The number format of the layers that have kernels for it.
  public var precision: Precision {
    quantization?.precision ?? (roundsFactors == true ? .bfloat16 : .float32)
  }
}
