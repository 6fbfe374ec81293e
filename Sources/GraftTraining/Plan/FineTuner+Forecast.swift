// What a run will take, told before it runs: what trains, the work, the cache, the memory, the time. Counts come
// from the graphs; memory and time from a rehearsal, the same run on a few items in a temporary folder.

import Foundation
import Graft
import GraftAutodiff
import GraftData
import GraftDiagnostics
import GraftIR

/// What ``FineTuner/forecast(observe:)`` found.
public struct Forecast: Codable, Sendable {
  /// A tensor that trains.
  public struct Parameter: Codable, Sendable {
    public var name: String
    public var shape: [Int]
    public var elements: Int
    /// The group of its learning rate.
    public var group: String
  }

  /// A tensor that does not train because it is no weight.
  public struct Literal: Codable, Sendable {
    public var name: String
    public var reason: String
  }

  /// Floating-point operations of one image; a multiplication with its addition is two.
  public struct Work: Codable, Sendable {
    /// Up to the freeze line.
    public var trunk: Int
    /// In a training step: forward, backward and its share of the update.
    public var step: Int
    /// In what the backward pass recomputes, and how many operators that is.
    public var again: Int
    public var operatorsAgain: Int

    enum CodingKeys: String, CodingKey {
      case trunk, step, again
      case operatorsAgain = "operators_again"
    }
  }

  /// Seconds on this machine.
  public struct Time: Codable, Sendable {
    /// Reading everything once and taking it through the trunk.
    public var preparation: Double
    public var epoch: Double
    /// The whole run, its compiling included.
    public var total: Double
  }

  /// In bytes.
  public struct Memory: Codable, Sendable {
    /// The most that the process will have resident.
    public var peak: Int
    /// Values at the freeze line.
    public var cache: Int
    /// Those of them that are not in a file.
    public var cacheInMemory: Int
    /// Part of it: activations, scratch and state of the training step.
    public var training: Int
    /// Part of it: the frozen layers: its weights, and activations of a batch.
    public var trunk: Int

    enum CodingKeys: String, CodingKey {
      case peak, cache, training, trunk
      case cacheInMemory = "cache_in_memory"
    }
  }

  public var trained: [Parameter]
  /// Constants of the network in what trains, which do not, each with the reason.
  public var literals: [Literal]
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
  }
}

extension FineTuner {
  /// Finds out what a run with these options will take. Nothing is written but in a temporary folder.
  ///
  /// The rehearsal runs the bundle's code, as the run does.
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
    let batch = network.batchSize(items)
    return Forecast(
      trained: trained,
      literals: plan.parts.tailLiterals.map {
        Forecast.Literal(name: $0.name, reason: $0.reason.rawValue)
      },
      trainedParameters: plan.trainedParameterCount,
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
            + manifest.arenaBytesPerImage
            * Trunk.largestBatch(of: batch, threads: options.threads)
            + (manifest.scratchBytesPerThread ?? 0) * options.threads),
      seconds: Forecast.Time(
        preparation: preparation, epoch: epoch,
        total: rehearsal.fixed + preparation + epoch * Double(options.epochs)))
  }

  /// What a run on a few items took.
  struct Rehearsal {
    var peak: Int
    /// Bytes that stayed resident after it.
    var residue: Int
    var measured: Measurements
    /// Items that were learned from.
    var items: Int
    /// Seconds of an epoch, and of all that does not grow with the data.
    var epoch: Double
    var fixed: Double
  }

  /// Runs the plan's rehearsal in a temporary folder.
  func rehearse(
    _ plan: RunPlan, in room: MemoryRoom, observe: (Event) throws -> Void
  ) throws -> Rehearsal {
    let start = ContinuousClock.now
    let before = try ResidentMemory.now()
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
    // The first epoch finds cold caches and threads that are not there yet.
    let epoch = report.epochs.last?.seconds ?? 0
    return Rehearsal(
      peak: try ResidentMemory.peak(), residue: max(0, try ResidentMemory.now() - before),
      measured: measured, items: report.trainingItems, epoch: epoch,
      fixed: max(
        0, report.seconds - measured.seconds - report.epochs.reduce(0) { $0 + $1.seconds }))
  }
}
