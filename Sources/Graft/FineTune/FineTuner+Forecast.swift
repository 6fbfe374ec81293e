// What a run will take, told before it runs: what trains, the work, the cache, the memory, the time. Counts come
// from the graphs; memory and time from a rehearsal, the same run on a few items in a temporary folder.

import Foundation
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
    /// Of the learning rate.
    public var group: String
  }

  /// Floating-point operations of one image; a multiplication with its addition is two.
  public struct Work: Codable, Sendable {
    /// Up to the freeze line.
    public var trunk: Int
    /// Of a training step: forward, backward and its share of the update.
    public var step: Int
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
    /// Of it the values at the freeze line.
    public var cache: Int
    /// Of it activations, scratch and state of the training step.
    public var training: Int
    /// Of it the trunk: its weights, and activations of a batch.
    public var trunk: Int
  }

  public var trained: [Parameter]
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
    case trained, epochs, memory, seconds
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
    try observe(.note("a rehearsal on a few items tells memory and time"))
    // Before anything else takes memory that a run would not.
    let rehearsal = try rehearse(observe: observe)
    let network = try PictureNetwork(bundle)
    let (dataset, _) = try open(options.data, network)
    let plan = try FineTuningPlan(
      bundle.loadGraph(), classes: classes(of: dataset, network), options: options)
    var held = 0
    var (items, read) = (dataset.count, dataset.count)
    if let other = options.validationData {
      held = try openValidation(other, network, like: dataset).dataset.count
      read += held
    } else if options.validationSplit > 0 {
      let labels = (0..<dataset.count).compactMap { dataset.label(of: $0) }
      let split = Split(
        labels: labels.count == dataset.count ? labels : [], count: dataset.count,
        share: options.validationSplit, seed: options.seed)
      (items, held) = (split.training.count, split.validation.count)
    }
    let widths = try Trunk.widths(at: plan.parts)
    // Views are kept of what is learnt from alone; without keeping, only held out items are.
    let rows = options.isRandom ? items * (options.cacheViews ?? 0) + held : read
    let cache = FeatureStore.byteCount(items: rows, widths: widths)
    let sampled = FeatureStore.byteCount(items: rehearsal.cachedRows, widths: widths)
    // What is kept in a file is not the process's own.
    let resident = cache <= FeatureStore.largestInMemory ? cache : 0
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
    let epoch = rehearsal.epoch * Double(items) / Double(max(1, rehearsal.items))
    let preparation =
      rehearsal.reading * Double(read) / Double(max(1, rehearsal.read))
    let manifest = bundle.manifest
    let batch = network.batchSize(options.batchSize)
    return Forecast(
      trained: trained, trainedParameters: plan.trainedParameterCount,
      frozenParameters: try GraphSummary(plan.parts.network).parameters
        - plan.trainedParameterCount,
      freezeLine: plan.parts.cutNames, trainingItems: items, validationItems: held,
      epochs: options.epochs,
      work: Forecast.Work(
        trunk: 2 * (try GraphSummary(plan.parts.trunk).multiplyAdds),
        step: 2 * (try GraphSummary(plan.training.step).multiplyAdds)),
      memory: Forecast.Memory(
        peak: rehearsal.peak + max(0, resident - sampled), cache: cache,
        training: rehearsal.session,
        trunk: plan.parts.trunk.nodeCount == 0
          ? 0
          : (manifest.files[BundleLayout.packed].map { Int(clamping: $0.bytes) } ?? 0)
            + manifest.arenaBytesPerImage
            * Trunk.largestBatch(of: batch, threads: options.threads)),
      seconds: Forecast.Time(
        preparation: preparation, epoch: epoch,
        total: rehearsal.fixed + preparation + epoch * Double(options.epochs)))
  }

  /// What a run on a few items took.
  private struct Rehearsal {
    var peak: Int
    var session: Int
    /// Items that were read, that were learnt from, and rows at the freeze line that were kept.
    var read: Int
    var items: Int
    var cachedRows: Int
    /// Seconds of reading, of an epoch, and of all that does not grow with the data.
    var reading: Double
    var epoch: Double
    var fixed: Double
  }

  private func rehearse(observe: (Event) throws -> Void) throws -> Rehearsal {
    let folder = try TemporaryFolder()
    var own = options
    own.epochs = 2
    own.earlyStop = nil
    (own.checkpoint, own.resumes) = (nil, false)
    (own.metrics, own.tensorboard, own.report) = (nil, nil, nil)
    // A rate that learns nothing: what diverges at once would end the rehearsal.
    own.learningRate = 1e-9
    own.headLearningRate = options.headLearningRate.map { _ in 1e-9 }
    var tuner = try FineTuner(path, own)
    tuner.sampleSize = Int(
      (2.5 * Double(options.batchSize) / max(0.05, 1 - options.validationSplit)).rounded(.up))
    let report = try tuner.run(to: folder.path + "/rehearsal.graft") { event in
      if case .doing(let text) = event { try observe(.doing("rehearsal: \(text)")) }
    }
    let measured = tuner.measurements
    // The first epoch finds cold caches and threads that are not there yet.
    let epoch = report.epochs.last?.seconds ?? 0
    return Rehearsal(
      peak: try ResidentMemory.peak(), session: measured.sessionBytes, read: measured.itemsRead,
      items: report.trainingItems, cachedRows: measured.cachedRows, reading: measured.seconds,
      epoch: epoch,
      fixed: max(
        0, report.seconds - measured.seconds - report.epochs.reduce(0) { $0 + $1.seconds }))
  }
}

/// The process's memory as Linux counts it.
enum ResidentMemory {
  /// The most bytes that were ever resident.
  /// - Throws: ``GraftError`` of kind `machine` where the system does not say.
  static func peak() throws -> Int {
    let status = FileManager.default.contents(atPath: "/proc/self/status") ?? Data()
    let line = String(decoding: status, as: UTF8.self).split(separator: "\n")
      .first { $0.hasPrefix("VmHWM:") }
    guard let kilobytes = line?.split(whereSeparator: \.isWhitespace).dropFirst().first,
      let count = Int(kilobytes)
    else { throw GraftError(.machine, "/proc/self/status does not tell the memory in use") }
    return count * 1024
  }
}
