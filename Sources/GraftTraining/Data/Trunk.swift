// The frozen layers of a network, run once over a data set: by the bundle's library if it can return the
// values at the freeze line, else by a library compiled for this.

import Graft
import GraftAutodiff
import GraftData
import GraftDiagnostics
import GraftIR
import GraftRuntime

/// Computes the values at the freeze line from a network's inputs.
struct Trunk {
  private enum Maker {
    /// The freeze line is at the inputs; nothing is computed.
    case nothing(order: [Int])
    /// Values of the bundle's library, by index, and the steps that compute them.
    case taps(LoadedModel, values: [Int], steps: Range<Int>)
    case session(Session, names: [String])
  }

  /// Floats per item, for each value at the freeze line.
  let widths: [Int]
  /// A description for the user.
  let description: String
  private let maker: Maker
  private let inputs: [TensorSpecification]
  /// Larger batches are processed in parts, because memory grows with the batch and speed does not.
  private let largestBatch: Int

  init(
    _ parts: NetworkParts, of network: ImageNetwork, batchSize: Int, threads: Int,
    target: CompilationTarget
  ) throws {
    let bundle = network.bundle
    inputs = network.inputs
    widths = try parts.cutWidths()
    largestBatch = Self.largestBatch(of: batchSize, threads: threads)
    let inputNames = inputs.map(\.name)
    let order = parts.cutNames.compactMap { inputNames.firstIndex(of: $0) }
    if order.count == parts.cutNames.count {
      maker = .nothing(order: order)
      description = "nothing is frozen"
      return
    }
    let precision = bundle.manifest.precision
    let format = precision == .float32 ? "" : ", in \(precision.rawValue)"
    try bundle.checkDigests(of: [BundleLayout.library, BundleLayout.packed])
    let library = try ModelLibrary(path: bundle.path(of: BundleLayout.library))
      .program(network.program)
    let types = parts.tail.inputs.map { parts.tail.type(of: $0) }
    let values = zip(parts.cutNames, types).compactMap { name, type in
      library.description.values.firstIndex { $0.name == name && $0.type == type }
    }
    if values.count == parts.cutNames.count {
      let last = values.map { library.description.availableAfterStep[$0] }.max() ?? 0
      let model = try LoadedModel(
        library: library, bundle: bundle.path, largestBatch: largestBatch, threads: threads)
      maker = .taps(model, values: values, steps: 0..<(last + 1))
      description = "the frozen layers are steps 1 to \(last + 1) of the bundle's library\(format)"
    } else {
      let folder = try TemporaryFolder()
      var options = Compiler.Options()
      options.target = target
      options.isCompact = bundle.manifest.isCompact ?? false
      let path = folder.path + "/trunk.graft"
      try Compiler(options).compile(
        SourceModel(
          graphs: [parts.trunk], preprocessing: nil, labels: nil,
          provenance: bundle.manifest.provenance, warnings: [],
          quantization: bundle.loadQuantization()?.restricted(to: parts.trunk),
          precision: bundle.manifest.precision),
        to: path, reusing: bundle)
      let session = try Session(
        ModelBundle(opening: path), threads: threads, largestBatch: largestBatch)
      maker = .session(session, names: parts.cutNames)
      description =
        "the frozen layers are recompiled\(format): the bundle's library does not keep their output values"
    }
  }

  /// Whether there is nothing to compute.
  var isEmpty: Bool { if case .nothing = maker { true } else { false } }

  /// Writes the values at the freeze line for one batch to `store`, starting at row `start`.
  func run(_ batch: Batch, into store: FeatureStore, from start: Int) throws {
    for (kind, values) in try run(batch).enumerated() {
      let width = widths[kind]
      for item in 0..<batch.count {
        try store.write(
          values[(item * width)..<((item + 1) * width)], to: start + item, kind: kind)
      }
    }
  }

  /// The values at the freeze line for one batch, one array per value with one row per item.
  /// - Throws: ``GraftError`` as the trunk's library does.
  func run(_ batch: Batch) throws -> [[Float]] {
    let parts = try Self.parts(of: batch.count, atMost: largestBatch).map {
      try run(batch, items: $0)
    }
    let results =
      parts.count == 1
      ? parts[0] : widths.indices.map { kind in parts.flatMap { $0[kind] } }
    for (values, width) in zip(results, widths) where values.count != width * batch.count {
      throw GraftError(
        .inconsistency, "\(values.count) values at the freeze line for \(batch.count) items")
    }
    return results
  }

  /// The maximum number of items per call if a step has `batchSize` items.
  static func largestBatch(of batchSize: Int, threads: Int) -> Int {
    min(batchSize, max(4, 2 * threads))
  }

  /// Ranges of about equal length, none with a single item unless `count` is 1: an image's results have the
  /// same bits in any batch of two or more.
  static func parts(of count: Int, atMost largest: Int) -> [Range<Int>] {
    let number = max(1, (count + largest - 1) / max(1, largest))
    return (0..<number).map { (count * $0 / number)..<(count * ($0 + 1) / number) }
  }

  private func run(_ batch: Batch, items: Range<Int>) throws -> [[Float]] {
    let values = zip(inputs, batch.inputs).map { input, values in
      let width = input.shape.reduce(1, *)
      return items.count == batch.count
        ? values : Array(values[(items.lowerBound * width)..<(items.upperBound * width)])
    }
    switch maker {
    case .nothing(let order):
      return order.map { values[$0] }
    case .session(let session, let names):
      var tensors: [String: Tensor] = [:]
      for (input, values) in zip(inputs, values) {
        tensors[input.name] = try Tensor(values, of: input, count: items.count)
      }
      let outputs = try session.run(tensors)
      return try names.map { name in
        try outputs[name].map { try $0.dtype.numbers(in: $0.bytes) } ?? []
      }
    case .taps(let model, let taps, let steps):
      return try model.run(batch: items.count, inputs: values, tapping: taps, steps: steps)
    }
  }
}
