// manifest.json as Swift values. ModelBundle reads files and checks digests.

import Foundation
import GraftCodegen
import GraftData
import GraftDiagnostics
import GraftIR

/// The contents of `manifest.json`.
public struct Manifest: Codable, Sendable, Equatable {
  public struct FormatVersion: Codable, Sendable, Equatable {
    public var major: Int
    public var minor: Int
  }

  /// An input or output of the model.
  public struct Tensor: Codable, Sendable, Equatable {
    public var name: String
    public var dtype: String
    /// Outermost axis first: numbers, or `"N"` and `"2N"` for multiples of the dynamic batch size.
    public var shape: [Extent]

    public init(name: String, type: TensorType) {
      self.name = name
      self.dtype = type.dtype.rawValue
      self.shape = type.shape.dimensions.map { Extent($0) }
    }

    /// The type that the entry describes.
    /// - Throws: ``GraftError`` of kind `invalidBundle` for an unknown element type.
    public func type() throws -> TensorType {
      guard let dtype = DataType(rawValue: dtype) else {
        throw GraftError(.invalidBundle, "unknown element type \(dtype.quotedForDisplay)")
      }
      return TensorType(dtype, TensorShape(shape.map { $0.dimension }))
    }
  }

  /// A dimension as JSON: a number, or a string such as `"N"`.
  public struct Extent: Codable, Sendable, Equatable {
    public var dimension: GraftIR.Dimension

    public init(_ dimension: GraftIR.Dimension) { self.dimension = dimension }

    public init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let number = try? container.decode(Int.self), number >= 0 {
        dimension = GraftIR.Dimension(number)
        return
      }
      let text = try container.decode(String.self)
      guard text.hasSuffix("N"), let multiple = text == "N" ? 1 : Int(text.dropLast()), multiple > 0
      else {
        throw DecodingError.dataCorruptedError(
          in: container, debugDescription: "an extent must be a number or a multiple of N")
      }
      dimension = .batch(times: multiple)
    }

    public func encode(to encoder: any Encoder) throws {
      var container = encoder.singleValueContainer()
      if let constant = dimension.constant {
        try container.encode(constant)
      } else {
        try container.encode(dimension.description)
      }
    }
  }

  /// The machine that the kernels were compiled for.
  public struct Target: Codable, Sendable, Equatable {
    public var name: String
    /// The required CPU features, in clang's spelling.
    public var features: [String]
    /// The float32 lanes of a vector, which is also the channel block.
    public var lanes: Int

    public init(name: String, features: [String], lanes: Int) {
      self.name = name
      self.features = features
      self.lanes = lanes
    }
  }

  /// The source of the network.
  public struct Provenance: Codable, Sendable, Equatable {
    /// The name of the compiled file, without its directory.
    public var source: String
    /// The SHA-256 of that file, in hexadecimal.
    public var sourceSHA256: String
    /// The operator-set version of the ONNX file; `graft export` writes at least 17.
    public var opset: Int

    public init(source: String, sourceSHA256: String, opset: Int) {
      self.source = source
      self.sourceSHA256 = sourceSHA256
      self.opset = opset
    }

    enum CodingKeys: String, CodingKey {
      case source
      case sourceSHA256 = "source_sha256"
      case opset
    }
  }

  /// The work of a step, to compare its time with.
  public struct Work: Codable, Sendable, Equatable {
    /// Multiply-adds of the operator per image.
    public var multiplyAdds: Int
    /// Multiply-adds of the kernel's algorithm per image.
    public var performedMultiplyAdds: Int
    /// The type whose products the kernel computes; nil for float32 and where it only moves elements.
    public var arithmetic: String?
    /// Bytes of activations read and written per image.
    public var activationBytes: Int
    /// Bytes of packed weights and other data that does not grow with the batch.
    public var weightBytes: Int

    enum CodingKeys: String, CodingKey {
      case multiplyAdds = "multiply_adds"
      case performedMultiplyAdds = "performed_multiply_adds"
      case arithmetic
      case activationBytes = "activation_bytes"
      case weightBytes = "weight_bytes"
    }
  }

  /// A program of the library: the network for one set of input shapes.
  public struct Program: Codable, Sendable, Equatable {
    public var inputs: [Tensor]
    public var outputs: [Tensor]
    /// Whether the batch size is dynamic.
    public var hasFreeBatch: Bool
    public var arenaBytesPerImage: Int
    /// Bytes that kernels need per thread in addition to activations; absent if zero.
    public var scratchBytesPerThread: Int?
    /// The kernel of each step, in order.
    public var schedule: [String]
    /// The work of each step.
    public var work: [Work]?

    enum CodingKeys: String, CodingKey {
      case inputs, outputs, schedule, work
      case hasFreeBatch = "has_free_batch"
      case arenaBytesPerImage = "arena_bytes_per_image"
      case scratchBytesPerThread = "scratch_bytes_per_thread"
    }
  }

  /// A file of the bundle as it was written.
  public struct File: Codable, Sendable, Equatable {
    public var bytes: Int
    /// In hexadecimal.
    public var sha256: String

    public init(bytes: Int, sha256: String) {
      self.bytes = bytes
      self.sha256 = sha256
    }
  }

  /// How an output relates to probabilities.
  public enum OutputActivation: String, Codable, Sendable {
    case softmax
    case logSoftmax = "log_softmax"
    /// Independent probabilities, one per class; for a single unit, the probability of the second of two
    /// classes.
    case sigmoid
    /// The values are logits.
    case none
    /// The values are neither logits nor probabilities.
    case other
  }

  public var format: FormatVersion
  /// `graft 0.1.0`
  public var tool: String
  /// The first line of the compiler's `--version`.
  public var compiler: String
  /// The graph's name.
  public var name: String
  public var inputs: [Tensor]
  public var outputs: [Tensor]
  /// Absent for a network whose input is not an image.
  public var preprocessing: Preprocessing?
  /// The class names, in the order of the output.
  public var labels: [String]?
  /// The final activation of the class output.
  public var outputActivation: OutputActivation
  /// The index of the class output, and the final activation of each output; absent if there is only one
  /// output.
  public var classOutput: Int?
  public var outputActivations: [OutputActivation]?
  /// The axis of the class output with the scores of one position, if an item has several positions, such as the
  /// pixels of an image; absent if it is one row per item, and before format 1.7.
  public var classAxis: Int?
  public var target: Target
  /// Whether the batch size is dynamic; otherwise the network runs only at the batch size of its file.
  public var hasFreeBatch: Bool
  public var arenaBytesPerImage: Int
  /// Bytes that kernels need per thread in addition to activations; absent if zero.
  public var scratchBytesPerThread: Int?
  /// Whether the bundle was compiled with `--compact`; absent if not.
  public var isCompact: Bool?
  /// Whether factors of products are rounded to bfloat16 where that is faster; absent if not.
  public var roundsFactors: Bool?
  /// The tuned schedules of convolutions, keyed by the properties that determine their speed; absent if all
  /// are the cost model's choice.
  public var tuned: [String: ConvolutionVariant]?
  /// The kernel of each step, in order.
  public var schedule: [String]
  /// The work of each step; absent before format 1.4.
  public var work: [Work]?
  /// The programs for other input shapes than those of ``inputs``, in the order of the command line; absent if
  /// there are none, and before format 1.8.
  public var furtherPrograms: [Program]?
  /// How the layers were put on bytes; absent if all compute in float32, and before format 1.9.
  public var quantization: Quantization?
  public var provenance: Provenance
  /// The build id in hexadecimal, which the library and the packed weights also contain. Absent before format
  /// 1.6.
  public var build: String?
  /// Absent if the bundle has no training step.
  public var training: Training?
  /// Absent if the bundle was not fine-tuned.
  public var fineTuning: FineTuning?
  /// Every other file of the bundle except the manifest's digest.
  public var files: [String: File]

  enum CodingKeys: String, CodingKey {
    case format, tool, compiler, name, inputs, outputs, preprocessing, labels, target
    case outputActivation = "output_activation"
    case classOutput = "class_output"
    case outputActivations = "output_activations"
    case classAxis = "class_axis"
    case hasFreeBatch = "has_free_batch"
    case arenaBytesPerImage = "arena_bytes_per_image"
    case scratchBytesPerThread = "scratch_bytes_per_thread"
    case isCompact = "compact"
    case roundsFactors = "rounds_factors"
    case tuned, schedule, work, quantization, provenance, build, training, files
    case furtherPrograms = "further_programs"
    case fineTuning = "fine_tuning"
  }

  /// All programs; the first is the one that the manifest's own keys describe.
  public var programs: [Program] {
    [
      Program(
        inputs: inputs, outputs: outputs, hasFreeBatch: hasFreeBatch,
        arenaBytesPerImage: arenaBytesPerImage, scratchBytesPerThread: scratchBytesPerThread,
        schedule: schedule, work: work)
    ] + (furtherPrograms ?? [])
  }

  /// The tuned schedules of convolutions for `target`.
  func schedules(
    for target: CompilationTarget
  ) -> [ConvolutionSite: ConvolutionVariant] {
    guard self.target.name == target.name, let tuned else { return [:] }
    return Dictionary(uniqueKeysWithValues: tuned.map { (ConvolutionSite($0.key), $0.value) })
  }

  /// Deterministic JSON with sorted keys, one per line.
  public func encoded() throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    var data = try encoder.encode(self)
    data.append(0x0a)
    return data
  }

  /// - Throws: ``GraftError`` of kind `invalidBundle` that names the key.
  public static func decode(_ data: Data) throws -> Manifest {
    do {
      let version = try JSONDecoder().decode(VersionOnly.self, from: data).format
      guard version.major == BundleLayout.formatMajor else {
        throw GraftError(
          .invalidBundle,
          "the bundle has format version \(version.major).\(version.minor), this Graft reads "
            + "\(BundleLayout.formatMajor).x",
          advice: version.major > BundleLayout.formatMajor
            ? "Use a newer Graft." : "Recompile it: graft compile BUNDLE -o NEW.graft.")
      }
      let manifest = try JSONDecoder().decode(Manifest.self, from: data)
      try manifest.checkFileNames()
      return manifest
    } catch let error as DecodingError {
      throw GraftError(.invalidBundle, "the manifest is damaged: \(error.plainDescription)")
    } catch let error as GraftError {
      throw error
    } catch {
      // Foundation throws another error type for numbers that are too large or have a fraction.
      throw GraftError(
        .invalidBundle, "the manifest is damaged: it contains a number out of range")
    }
  }

  /// Checks that listed names are plain file names, because listed files are read and a bundle has no
  /// subfolders.
  private func checkFileNames() throws {
    for name in files.keys.sorted()
    where ["", ".", ".."].contains(name) || name.utf8.contains(where: { $0 == 0 || $0 == 0x2F }) {
      throw GraftError(
        .invalidBundle,
        "the manifest is damaged: it lists \(name.quotedForDisplay), which is not a valid name of a "
          + "file in a bundle")
    }
  }

  private struct VersionOnly: Codable { var format: FormatVersion }
}

extension DecodingError {
  /// The key and the problem, without Swift type names.
  var plainDescription: String {
    func path(_ context: Context) -> String {
      let parts = context.codingPath.map { $0.intValue.map(String.init) ?? $0.stringValue }
      return parts.isEmpty ? "the top level" : parts.joined(separator: ".").quotedForDisplay
    }
    switch self {
    case .keyNotFound(let key, let context):
      return "\(path(context)) has no key \(key.stringValue.quotedForDisplay)"
    case .typeMismatch(_, let context), .valueNotFound(_, let context):
      return "\(path(context)) has a value of the wrong type"
    case .dataCorrupted(let context):
      return "\(path(context)): \(context.debugDescription.escapedForDisplay)"
    @unknown default: return "it cannot be read"
    }
  }
}
