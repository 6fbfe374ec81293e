// Estimates of a run before it starts: what trains, operations, cache, memory, time. Counts come from the
// graphs; memory and time from a rehearsal, the same run on a few items in a temporary folder.

import Foundation
import Graft
import GraftAutodiff
import GraftData
import GraftDiagnostics
import GraftIR

/// The estimates of ``FineTuner/forecast(observe:)``.
public struct Forecast: Codable, Sendable {
  /// A tensor that trains.
  public struct Parameter: Codable, Sendable {
    public var name: String
    public var shape: [Int]
    public var elements: Int
    /// Its parameter group.
    public var group: String
  }

  /// A constant that does not train because it is not a weight.
  public struct Literal: Codable, Sendable {
    public var name: String
    public var reason: String
  }

  /// Floating-point operations per image; a multiply-add counts as two.
  public struct Work: Codable, Sendable {
    /// In the frozen layers.
    public var trunk: Int
    /// In a training step: forward, backward and its share of the update.
    public var step: Int
    /// In recomputed operators, and their number.
    public var again: Int
    public var operatorsAgain: Int

    enum CodingKeys: String, CodingKey {
      case trunk, step, again
      case operatorsAgain = "operators_again"
    }
  }

  /// Seconds on this machine.
  public struct Time: Codable, Sendable {
    /// Reading the data once and running the frozen layers.
    public var preparation: Double
    public var epoch: Double
    /// The whole run, including compilation.
    public var total: Double
  }

  /// In bytes.
  public struct Memory: Codable, Sendable {
    /// The peak resident memory of the process.
    public var peak: Int
    /// Values at the freeze line.
    public var cache: Int
    /// The part of ``cache`` that is not in a file.
    public var cacheInMemory: Int
    /// The part of ``peak`` for activations, scratch and state of the training step.
    public var training: Int
    /// The part of ``peak`` for weights and activations of the frozen layers.
    public var trunk: Int

    enum CodingKeys: String, CodingKey {
      case peak, cache, training, trunk
      case cacheInMemory = "cache_in_memory"
    }
  }

  public var trained: [Parameter]
  /// Constants in the unfrozen layers that do not train, with the reason.
  public var literals: [Literal]
  /// The number format of the frozen layers.
  public var trunkPrecision: Precision
  public var trainedParameters: Int
  public var frozenParameters: Int
  /// The names of the values at the freeze line.
  public var freezeLine: [String]
  public var trainingItems: Int
  public var validationItems: Int
  public var epochs: Int
  public var work: Work
  public var memory: Memory
  public var seconds: Time

  enum CodingKeys: String, CodingKey {
    case trained, literals, epochs, memory, seconds
    case trainedParameters = "trained_parameters"
    case frozenParameters = "frozen_parameters"
    case freezeLine = "freeze_line"
    case trainingItems = "training_items"
    case validationItems = "validation_items"
    case work = "flops_per_image"
    case trunkPrecision = "trunk_precision"
  }
}

extension FineTuner {
  /// Estimates memory, time and operations of a run with these options. Writes only to a temporary folder.
  ///
  /// The rehearsal executes the bundle's code, as the run does.
  /// - Throws: ``GraftError`` as the run would.
  public mutating func forecast(
    observe: (Event) throws -> Void = { _ in }
  ) throws -> Forecast {
    try observe(.note("measuring memory and time in a rehearsal on a few items"))
    let rehearsed = options.memoryLimit == nil ? MemoryRoom() : .least
    let run = try self.plan(observe: observe)
    let rehearsal = try rehearse(run, in: rehearsed, observe: observe)
    let (network, plan) = (run.network, run.training)
    let size = try run.size()
    let measured = rehearsal.measured
    let estimate = MemoryEstimate(rehearsal, in: rehearsed, size: size)
    let items = run.batchSize
    var (arena, again) = (measured.arenaBytes, measured.recomputation)
    if let limit = options.memoryLimit {
      room = try estimate.room(
        within: limit, arena: lowered(plan, in: MemoryRoom(), batch: items).arena)
      (arena, again) = try lowered(plan, in: room, batch: items)
    }
    let tail = plan.parts.tail
    let trained = tail.parameters.compactMap { id -> Forecast.Parameter? in
      guard let name = tail[id].name, let group = plan.specification.groups[name] else {
        return nil
      }
      let shape = tail.type(of: id).shape.constants ?? []
      return Forecast.Parameter(
        name: name, shape: shape, elements: shape.reduce(1, *),
        group: plan.specification.groupNames[group])
    }
    let epoch = rehearsal.epoch * Double(size.items) / Double(max(1, rehearsal.items))
    let preparation = measured.seconds * Double(size.read) / Double(max(1, measured.itemsRead))
    let manifest = bundle.manifest
    let program = manifest.programs[network.program]
    let batch = network.batchSize(items)
    return Forecast(
      trained: trained,
      literals: plan.parts.tailLiterals.map {
        Forecast.Literal(name: $0.name, reason: $0.reason.rawValue)
      },
      trunkPrecision: manifest.precision, trainedParameters: plan.trainedParameterCount,
      frozenParameters: try GraphSummary(plan.parts.network).parameters
        - plan.trainedParameterCount,
      freezeLine: plan.parts.cutNames, trainingItems: size.items, validationItems: size.held,
      epochs: options.epochs,
      work: Forecast.Work(
        trunk: 2 * (try GraphSummary(plan.parts.trunk).multiplyAdds),
        step: 2 * (try GraphSummary(plan.training.step).multiplyAdds),
        again: 2 * again.multiplyAdds, operatorsAgain: again.again.count),
      memory: Forecast.Memory(
        peak: estimate.peak(arena: arena, in: room), cache: size.cacheBytes,
        cacheInMemory: size.residentBytes(inMemory: room.largestCache),
        training: measured.sessionBytes - measured.arenaBytes + arena,
        trunk: plan.parts.trunk.nodeCount == 0
          ? 0
          : (manifest.files[BundleLayout.packed].map { Int(clamping: $0.bytes) } ?? 0)
            + program.arenaBytesPerImage
            * Trunk.largestBatch(of: batch, threads: options.threads)
            + (program.scratchBytesPerThread ?? 0) * options.threads),
      seconds: Forecast.Time(
        preparation: preparation, epoch: epoch,
        total: rehearsal.fixed + preparation + epoch * Double(options.epochs)))
  }

  /// The measurements of a rehearsal.
  struct Rehearsal {
    var peak: Int
    /// Bytes that it allocated and are still resident after it.
    var residue: Int
    var measured: Measurements
    /// Training items.
    var items: Int
    /// Seconds of an epoch, and of all work that does not grow with the data.
    var epoch: Double
    var fixed: Double
  }

  /// Runs the plan's rehearsal in a temporary folder.
  func rehearse(
    _ plan: RunPlan, in room: MemoryRoom, observe: (Event) throws -> Void
  ) throws -> Rehearsal {
    let start = ContinuousClock.now
    let before = try ResidentMemory.allocated()
    let folder = try TemporaryFolder()
    let output = folder.path + "/rehearsal.graft"
    let rehearsal = try plan.rehearsal()
    var tuner = self
    (tuner.room, tuner.warnings, tuner.measurements) = (room, [], Measurements())
    let report = try tuner.execute(
      rehearsal, to: output, checkpoint: Checkpoint(folder: output + ".checkpoint"),
      records: RunRecords(rehearsal.options), since: start
    ) { event in
      if case .doing(let text) = event { try observe(.doing("rehearsal: \(text)")) }
    }
    let measured = tuner.measurements
    // A run that follows uses again what the rehearsal has freed, and the code that it has loaded.
    ProcessGuard.trimMemory()
    let residue = max(0, try ResidentMemory.allocated() - before)
    // In the first epoch, caches are cold and threads are not started yet.
    let epoch = report.epochs.last?.seconds ?? 0
    return Rehearsal(
      peak: try ResidentMemory.peak(), residue: residue, measured: measured,
      items: report.trainingItems,
      epoch: epoch,
      fixed: max(
        0, report.seconds - measured.seconds - report.epochs.reduce(0) { $0 + $1.seconds }))
  }
}
