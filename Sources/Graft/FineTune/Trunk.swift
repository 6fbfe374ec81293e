// The frozen part of a network, run over a data set once: by the compiled bundle itself where its library
// can hand out the values at the freeze line, else by a library made for the purpose.

import GraftAutodiff
import GraftData
import GraftDiagnostics
import GraftIR
import GraftRuntime

/// What makes the values at the cut from a network's inputs.
struct Trunk {
  private enum Maker {
    /// The cut is the inputs.
    case nothing(order: [Int])
    /// Values of the network's own library, by index, and the steps that make them.
    case taps(LoadedModel, values: [Int], steps: Range<Int>)
    case session(Session, names: [String])
  }

  /// Floats of one item at each value of the cut.
  let widths: [Int]
  /// What is said of it before it runs.
  let description: String
  private let maker: Maker
  private let inputs: [TensorSpecification]

  init(
    _ parts: NetworkParts, of bundle: ModelBundle, inputs: [TensorSpecification], batchSize: Int,
    threads: Int, target: CompilationTarget
  ) throws {
    self.inputs = inputs
    widths = try Self.widths(at: parts)
    let inputNames = inputs.map(\.name)
    let order = parts.cutNames.compactMap { inputNames.firstIndex(of: $0) }
    if order.count == parts.cutNames.count {
      maker = .nothing(order: order)
      description = "nothing is frozen"
      return
    }
    try bundle.checkDigests(of: [BundleLayout.library, BundleLayout.packed])
    let library = try ModelLibrary(path: bundle.path(of: BundleLayout.library))
    let types = parts.tail.inputs.map { parts.tail.type(of: $0) }
    let values = zip(parts.cutNames, types).compactMap { name, type in
      library.description.values.firstIndex { $0.name == name && $0.type == type }
    }
    if values.count == parts.cutNames.count {
      let last = values.map { library.description.availableAfterStep[$0] }.max() ?? 0
      let model = try LoadedModel(
        library: library, bundle: bundle.path, largestBatch: batchSize, threads: threads)
      maker = .taps(model, values: values, steps: 0..<(last + 1))
      description = "the trunk is steps 1 to \(last + 1) of the bundle's own library"
    } else {
      let folder = try TemporaryFolder()
      var options = Compiler.Options()
      options.target = target
      let path = folder.path + "/trunk.graft"
      try Compiler(options).compile(
        SourceModel(
          graph: parts.trunk, preprocessing: nil, labels: nil,
          provenance: bundle.manifest.provenance, warnings: []), to: path)
      let session = try Session(
        ModelBundle(opening: path), threads: threads, largestBatch: batchSize)
      maker = .session(session, names: parts.cutNames)
      description =
        "the trunk was compiled, since the bundle's library does not keep the freeze line"
    }
  }

  /// Floats of one item at each value of the cut.
  /// - Throws: ``GraftError`` of kind `unsupported` naming a value that is not one row an item.
  static func widths(at parts: NetworkParts) throws -> [Int] {
    try parts.tail.inputs.map { id in
      let shape = parts.tail.type(of: id).shape
      guard shape.rank >= 1, shape[0] == .batch,
        let width = TensorShape(Array(shape.dimensions.dropFirst())).elementCount?.constant
      else {
        throw GraftError(
          .unsupported,
          "the value \((parts.tail[id].name ?? "").quotedForDisplay) at the freeze line is "
            + "\(parts.tail.type(of: id)); its first axis must be the batch")
      }
      return width
    }
  }

  /// Whether values at the cut have to be computed.
  var isEmpty: Bool { if case .nothing = maker { true } else { false } }

  /// Writes the values at the cut for one batch into `store`, from row `start` on.
  func run(_ batch: Batch, into store: FeatureStore, from start: Int) throws {
    switch maker {
    case .nothing(let order):
      for (kind, input) in order.enumerated() {
        try write(batch.inputs[input], kind: kind, count: batch.count, into: store, from: start)
      }
    case .session(let session, let names):
      var tensors: [String: Tensor] = [:]
      for (input, values) in zip(inputs, batch.inputs) {
        tensors[input.name] = try Tensor(shape: [batch.count] + input.shape, elements: values)
      }
      let outputs = try session.run(tensors)
      for (kind, name) in names.enumerated() {
        try write(
          outputs[name]?.elements ?? [], kind: kind, count: batch.count, into: store, from: start)
      }
    case .taps(let model, let values, let steps):
      let results = try model.run(
        batch: batch.count, inputs: batch.inputs, tapping: values, steps: steps)
      for (kind, result) in results.enumerated() {
        try write(result, kind: kind, count: batch.count, into: store, from: start)
      }
    }
  }

  private func write(
    _ values: [Float], kind: Int, count: Int, into store: FeatureStore, from start: Int
  ) throws {
    let width = widths[kind]
    guard values.count == width * count else {
      throw GraftError(
        .inconsistency, "\(values.count) values at the freeze line for \(count) items")
    }
    for item in 0..<count {
      _ = store.row(start + item, kind: kind)
        .update(fromContentsOf: values[(item * width)..<((item + 1) * width)])
    }
  }
}
