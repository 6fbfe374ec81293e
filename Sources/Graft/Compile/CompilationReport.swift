// What a compilation did: for the closing line, --explain and --timings.

import GraftDiagnostics
import GraftPasses

/// What a compilation did.
public struct CompilationReport: Sendable {
  public var warnings: [Warning]
  /// A sentence on what trains, of a bundle that does.
  public var training: String?
  public var passes: PassReport
  public var stages: [(name: String, seconds: Double)]
  public var target: String
  /// Steps of the compiled network.
  public var nodes: Int
  public var packedBytes: Int
  /// Bytes of activations at batch 1, and the least that any plan needs.
  public var arenaBytes: Int
  public var lowerBoundBytes: Int
  /// Bytes that each thread needs beside them.
  public var scratchBytesPerThread: Int
  /// How many times as long the convolutions take as with the algorithms that the cost model thinks
  /// fastest: 1 unless less memory was asked for.
  public var estimatedSlowdown: Double

  /// What tuning found; nil where there was none.
  public var tuning: TuningReport?

  public var seconds: Double { stages.reduce(0) { $0 + $1.seconds } }

  /// What each pass did and why it left the rest alone, a line each.
  public var explanation: String {
    (passes.notes.map(\.description) + (tuning?.explanation ?? []))
      .map(\.escapedLines).joined(separator: "\n")
  }

  /// A line for each step of the compiler and for each pass.
  public var timings: String {
    func line(_ seconds: Double, _ name: String) -> String {
      let milliseconds = (seconds * 10_000).rounded() / 10
      let text = String(milliseconds)
      return String(repeating: " ", count: max(0, 9 - text.count)) + text + " ms  " + name
    }
    let passLines = passes.records.filter(\.ran).map { line($0.seconds, "  pass \($0.name)") }
    return (stages.map { line($0.seconds, $0.name) } + passLines).joined(separator: "\n")
  }
}

extension String {
  /// The text with control characters escaped, however long it is.
  var escapedLines: String {
    String(
      String.UnicodeScalarView(
        unicodeScalars.map { $0.properties.generalCategory == .control ? "\u{fffd}" : $0 }))
  }
}
