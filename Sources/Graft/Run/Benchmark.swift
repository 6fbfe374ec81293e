// Benchmarks a bundle: loading, then, after a warmup, calls for a given time. Reports medians and minima,
// because other work on the machine only makes calls slower.

import Foundation
import GraftDiagnostics
import GraftIR

/// Measures the loading time of a bundle and the time of calls.
public struct Benchmark {
  private let session: Session
  private let loadMilliseconds: Double
  private let programIndex: Int
  private let program: Manifest.Program
  /// The target that the bundle was compiled for.
  public let targetName: String
  /// The batch size, if it is fixed by the network's file.
  public let fixedBatch: Int?

  /// Loads the bundle at `path` and measures the time from opening the manifest to a session that is ready to
  /// run, including the digests of all files that it reads.
  /// - Parameter inputShapes: the shapes, by input, of the program to measure; empty for the first.
  /// - Throws: ``GraftError`` as ``ModelBundle/init(opening:)`` and ``Session`` do.
  public init(
    loading path: String, threads: Int = AvailableCores.count, largestBatch: Int = 1,
    inputShapes: [String: InputShape] = [:]
  ) throws {
    let clock = ContinuousClock()
    let start = clock.now
    let bundle = try ModelBundle(opening: path)
    programIndex = try bundle.program(withShapes: inputShapes)
    program = bundle.manifest.programs[programIndex]
    fixedBatch =
      program.hasFreeBatch ? nil : program.inputs.first?.shape.first?.dimension.constant ?? 1
    let largestBatch = fixedBatch == nil ? largestBatch : 1
    session = try Session(
      bundle, threads: threads, largestBatch: largestBatch, program: programIndex)
    loadMilliseconds = (clock.now - start) / .milliseconds(1)
    targetName = bundle.manifest.target.name
  }

  /// The results of a benchmark.
  public struct Report: Sendable {
    /// The inputs of the measured program.
    public var inputs: [Manifest.Tensor]
    /// The loading time up to a session that is ready to run.
    public var loadMilliseconds: Double
    public var medianMilliseconds: Double
    public var minimumMilliseconds: Double
    public var runs: Int
    public var batch: Int
    public var threads: Int
    /// Bytes of activations and scratch memory of the session.
    public var peakArenaBytes: Int
    public var layers: [Layer]

    /// The machine's limits, if they were measured.
    public var machine: MachineLimits?

    public struct Layer: Encodable, Sendable {
      public var name: String
      /// The median over the runs, including waiting for other threads.
      public var milliseconds: Double
      /// The rate of the operator's operations in 10⁹ per second, two per multiply-add; nil if there are none
      /// or the bundle does not have them.
      public var gigaflops: Double?
      /// The limiting resource and the fraction of its limit that the step reaches; nil if the limits were
      /// not measured. More than 1 for memory means that data came from a cache.
      public var limit: Limit?
      public var share: Double?

      public enum Limit: String, Encodable, Sendable {
        /// The multiply-adds of the algorithm; for Winograd, after its reduction.
        case arithmetic
        /// Reading the weights, or, without weights, reading and writing activations.
        case memory
      }

      enum CodingKeys: String, CodingKey {
        case name, milliseconds, limit, share
        case gigaflops = "gflops"
      }

      init(
        name: String, milliseconds: Double, work: Manifest.Work?, batch: Int,
        machine: MachineLimits?
      ) {
        self.name = name
        self.milliseconds = milliseconds
        let seconds = milliseconds / 1000
        guard let work, seconds > 0 else { return }
        if work.multiplyAdds > 0 {
          gigaflops = 2 * Double(work.multiplyAdds) * Double(batch) / seconds / 1e9
        }
        guard let machine, machine.gigabytesPerSecond > 0 else { return }
        let peak = machine.peak(of: work.arithmetic.flatMap { DataType(rawValue: $0) })
        guard peak > 0 else { return }
        let arithmetic = 2 * Double(work.performedMultiplyAdds) * Double(batch) / (peak * 1e9)
        let bytes =
          work.weightBytes > 0
          ? Double(work.weightBytes) : Double(work.activationBytes) * Double(batch)
        let memory = bytes / (machine.gigabytesPerSecond * 1e9)
        limit = arithmetic >= memory ? .arithmetic : .memory
        share = max(arithmetic, memory) / seconds
      }
    }

    /// The JSON object of `graft bench --json`.
    public struct Document: Encodable, Sendable {
      var inputs: [Manifest.Tensor]
      var loadMs: Double
      var medianMs: Double
      var minMs: Double
      var runs: Int
      var batch: Int
      var threads: Int
      var peakArenaBytes: Int
      var machine: MachineLimits?
      var layers: [Layer]?

      enum CodingKeys: String, CodingKey {
        case loadMs = "load_ms"
        case medianMs = "median_ms"
        case minMs = "min_ms"
        case inputs, runs, batch, threads, machine, layers
        case peakArenaBytes = "peak_arena_bytes"
      }
    }

    public func document(perLayer: Bool) -> Document {
      Document(
        inputs: inputs, loadMs: loadMilliseconds, medianMs: medianMilliseconds,
        minMs: minimumMilliseconds,
        runs: runs, batch: batch, threads: threads, peakArenaBytes: peakArenaBytes,
        machine: machine, layers: perLayer ? layers : nil)
    }

    /// A header, and one line per step: milliseconds, percentage of the total, rate, percentage of the limit,
    /// the layers that it computes, the kernel and its algorithm.
    public func layerTable() -> String {
      let total = layers.reduce(0) { $0 + $1.milliseconds }
      let texts = layers.map { Self.texts(of: $0.name) }
      let width = min(40, max(5, texts.map(\.layer.count).max() ?? 0))
      let header =
        "     time     share" + Self.column("rate", width: 15)
        + (machine == nil ? "" : Self.column("of the limit", width: 20))
        + Self.column("layer", width: width) + "  kernel: algorithm"
      let lines = zip(layers, texts).map { layer, text in
        let rate = layer.gigaflops.map { String(format: "%7.1f GFLOP/s", $0) }
        let share = layer.share.map { share in
          String(format: "%4.0f %% of ", 100 * share) + (layer.limit?.rawValue ?? "")
        }
        return String(
          format: "%9.4f ms %5.1f %%", layer.milliseconds, 100 * layer.milliseconds / total)
          + Self.column(rate, width: 15) + (machine == nil ? "" : Self.column(share, width: 20))
          + Self.column(text.layer, width: width) + "  " + text.kernel
      }
      return ([header] + lines).joined(separator: "\n")
    }

    /// The layer and kernel of a line of the schedule, `kernel: algorithm, details: layers`, truncated to the
    /// column width; JSON has the full text.
    private static func texts(of name: String) -> (layer: String, kernel: String) {
      let parts = name.split(separator: ": ", maxSplits: 2).map(String.init)
      let origins = parts.count > 2 ? parts[2].split(separator: ", ") : []
      let others = origins.count > 1 ? " + \(origins.count - 1)" : ""
      let first = origins.first.map(String.init)?.escapedForDisplay ?? ""
      let room = 40 - others.count
      let layer = first.count > room ? "…" + first.suffix(room - 1) : first
      let algorithm = parts.count > 1 ? parts[1].prefix { $0 != "," } : ""
      return (
        layer + others,
        ([parts.first ?? "", String(algorithm)]
          .filter { !$0.isEmpty }.joined(separator: ": ")).escapedForDisplay
      )
    }

    private static func column(_ text: String?, width: Int) -> String {
      let text = text ?? ""
      return "  " + text + String(repeating: " ", count: max(0, width - text.count))
    }
  }

  /// Calls the network on pseudo-random input for about `seconds`, after a warmup of a tenth of that.
  /// - Parameters:
  ///   - machine: the limits to compare the steps with.
  ///   - progress: called regularly with the elapsed seconds.
  /// - Parameter images: the batch size; by default 1, or the fixed batch size of the network.
  /// - Throws: ``GraftError`` if a call fails, or the network has another fixed batch size.
  public func run(
    batch images: Int? = nil, seconds: Double, machine: MachineLimits? = nil,
    progress: (Double) -> Void = { _ in }
  ) throws -> Report {
    if let fixedBatch, let images, images != fixedBatch {
      throw GraftError(
        .invalidArgument,
        "the network has the fixed batch size \(fixedBatch), but --batch is \(images)",
        advice: "Omit --batch, or compile a model with a dynamic batch size.")
    }
    // In a library with a fixed batch size, N is always 1.
    let batch = fixedBatch == nil ? images ?? 1 : 1
    var inputs: [String: Tensor] = [:]
    var random = RandomInputs()
    for input in session.inputs(ofProgram: programIndex) {
      inputs[input.name] = try random.tensor(input.type, batch: batch)
    }
    let call = try session.prepare(inputs)
    let clock = ContinuousClock()
    let warmUp = clock.now + .seconds(seconds / 10)
    repeat { try call.run() } while clock.now < warmUp
    _ = call.stepNanoseconds()

    var times: [Double] = []
    var steps: [[UInt64]] = []
    let start = clock.now
    let end = start + .seconds(seconds)
    repeat {
      let before = clock.now
      try call.run()
      times.append((clock.now - before) / .milliseconds(1))
      steps.append(call.stepNanoseconds())
      if times.count.isMultiple(of: 16) { progress((clock.now - start) / .seconds(1)) }
    } while clock.now < end || times.count < 5

    let (schedule, work) = (program.schedule, program.work)
    let layers = call.stepNames.enumerated().map { index, name in
      let all = steps.map { index < $0.count ? Double($0[index]) / 1e6 : 0 }
      return Report.Layer(
        name: index < schedule.count ? schedule[index] : name, milliseconds: all.median,
        work: work.flatMap { index < $0.count ? $0[index] : nil }, batch: batch, machine: machine)
    }
    return Report(
      inputs: program.inputs, loadMilliseconds: loadMilliseconds, medianMilliseconds: times.median,
      minimumMilliseconds: times.min() ?? 0, runs: times.count, batch: fixedBatch ?? batch,
      threads: session.threads, peakArenaBytes: call.arenaBytes, layers: layers,
      machine: machine)
  }
}
