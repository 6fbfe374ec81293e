// The results of a compilation, for the final message, --explain and --timings.

import GraftDiagnostics
import GraftPasses

/// The results of a compilation.
public struct CompilationReport: Sendable {
  /// The network compiled for one set of input shapes.
  public struct Program: Sendable {
    /// The shape of the only input, such as `[N,3,224,224]`, or the names and shapes of several.
    public var inputShapes: String
    public var passes: PassReport
    /// Steps of the compiled network.
    public var nodes: Int
    /// Bytes of activations at batch size 1, and the lower bound of any plan.
    public var arenaBytes: Int
    public var lowerBoundBytes: Int
    /// Bytes that each thread needs in addition.
    public var scratchBytesPerThread: Int
    /// The estimated time of the convolutions relative to the fastest schedules by the cost model: 1 except for
    /// compact networks.
    public var estimatedSlowdown: Double
    /// The results of tuning; nil if there was none.
    public var tuning: TuningReport?
  }

  public var warnings: [Warning]
  /// The number format of the layers that have kernels for it; float32 if none is on bytes.
  public var precision: Precision
  /// Where the ranges of a network on bytes come from; nil for float32.
  public var quantization: String?
  /// What int8 costs; nil if it was not measured.
  public var accuracy: AccuracyReport?
  /// The precisions that were compared; nil if one was given.
  public var choice: PrecisionReport?
  /// A sentence about the training step, if there is one.
  public var training: String?
  /// One for each set of input shapes, at least one.
  public var programs: [Program]
  public var stages: [(name: String, seconds: Double)]
  public var target: String
  /// The size of packed.bin, which the programs share.
  public var packedBytes: Int

  public var seconds: Double { stages.reduce(0) { $0 + $1.seconds } }

  /// The log of the passes: what each changed, and what it left unchanged and why, one line each; below the input
  /// shapes if there are several programs.
  public var explanation: String {
    programs.flatMap { program in
      (programs.count > 1 ? ["for \(program.inputShapes):"] : [])
        + program.passes.notes.map(\.description) + (program.tuning?.explanation ?? [])
    }.map(\.escapedLines).joined(separator: "\n")
  }

  /// The time of each compiler phase and each pass, one line each.
  public var timings: String {
    func line(_ seconds: Double, _ name: String) -> String {
      let milliseconds = (seconds * 10_000).rounded() / 10
      let text = String(milliseconds)
      return String(repeating: " ", count: max(0, 9 - text.count)) + text + " ms  " + name
    }
    let passLines = programs.flatMap(\.passes.records).filter(\.ran).map {
      line($0.seconds, "  pass \($0.name)")
    }
    return (stages.map { line($0.seconds, $0.name) } + passLines).joined(separator: "\n")
  }
}

extension String {
  /// The text with control characters escaped, not shortened.
  var escapedLines: String {
    String(
      String.UnicodeScalarView(
        unicodeScalars.map { $0.properties.generalCategory == .control ? "\u{fffd}" : $0 }))
  }
}
