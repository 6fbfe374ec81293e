// Runs a network in float32 on data like those that it will see, and looks at all of its values.

import Foundation
import GraftData
import GraftDiagnostics
import GraftIR
import GraftOps

/// Where the inputs for calibration come from.
package struct CalibrationFeed {
  let method: CalibrationMethod
  /// Calls its argument with the inputs of each batch and its number of items, for programs of the session.
  /// - Returns: warnings about the data.
  let read: (_ session: Session, _ body: Body) throws -> [Warning]

  package typealias Body = (_ inputs: [String: Tensor], _ items: Int) throws -> Void

  package init(
    method: CalibrationMethod,
    _ read: @escaping (_ session: Session, _ body: Body) throws -> [Warning]
  ) {
    self.method = method
    self.read = read
  }

  init(_ options: QuantizationOptions) {
    let reader = CalibrationReader(path: options.calibrationData, mostItems: options.mostItems)
    self.init(method: options.method) { session, body in
      var items = 0
      let warnings = try reader.read(for: session) { inputs, count in
        items += count
        try body(inputs, count)
      }
      guard items > 0 else {
        throw GraftError(
          .invalidData, "there is nothing to calibrate with",
          at: SourceLocation(file: options.calibrationData),
          advice: "Give a folder of images as for graft evaluate, or a .npy file of inputs.")
      }
      return warnings
    }
  }
}

/// The ranges of a network's values over data.
struct ValueRanges {
  /// By ``ValueKeys`` of the graphs that were given; nil for values without a finite range.
  var ranges: [String: ClosedRange<Float>?]
  var items: Int
  var warnings: [Warning]

  /// - Parameters:
  ///   - graphs: the network after the passes of ``Pipeline/inference``, for each set of input shapes. The data
  ///     choose the program that they go through, and values with one key have one range.
  ///   - model: the network's preprocessing and labels.
  /// - Throws: ``GraftError`` of kind `invalidData` where the data have no items.
  init(
    of graphs: [Graph], _ model: SourceModel, _ feed: CalibrationFeed, compiler: Compiler
  ) throws {
    let keys = graphs.map(ValueKeys.init)
    let network = CalibratedNetwork(graphs, keys)
    let folder = try TemporaryFolder()
    let path = ModelBundle.join(folder.path, "float32.graft")
    try compiler.plain(.float32).compile(network.source(of: model), to: path)
    let session = try Session(ModelBundle(opening: path))
    var histograms: [String: ValueHistogram] = [:]
    var seen = 0
    warnings = try feed.read(session) { inputs, items in
      let found = try session.runKeepingValues(inputs).values
      for (name, tensor) in found.merging(inputs, uniquingKeysWith: { first, _ in first }) {
        guard let key = network.keys[name] else { continue }
        histograms[key, default: ValueHistogram()].add(tensor.elements)
      }
      seen += items
      compiler.options.progress("calibrating on \(seen) items")
    }
    items = seen
    let broken = histograms.count { $0.value.isBroken }
    if broken > 0 {
      let text = broken == 1 ? "1 value has" : "\(broken) values have"
      warnings.append(
        Warning("\(text) infinite numbers or NaN on the calibration data and stay float32"))
    }
    ranges = [:]
    for key in keys.flatMap({ $0.values.map(\.key) }) {
      ranges.updateValue(histograms[key]?.range(by: feed.method), forKey: key)
    }
  }
}

/// Graphs all of whose float32 values have names by which a session returns them.
private struct CalibratedNetwork {
  private var graphs: [Graph]
  /// The keys of values by these names.
  private(set) var keys: [String: String] = [:]

  init(_ graphs: [Graph], _ own: [ValueKeys]) {
    self.graphs = graphs
    let taken = Set(graphs.flatMap { graph in graph.allValues.compactMap { graph[$0].name } })
    var names: [String: String] = [:]
    for (index, keys) in own.enumerated() {
      for (key, value) in keys.values {
        if graphs[index].inputs.contains(value) {
          self.keys[graphs[index][value].name ?? ""] = key
          continue
        }
        if names[key] == nil {
          var name = "value \(names.count)"
          while taken.contains(name) { name += "'" }
          names[key] = name
          self.keys[name] = key
        }
        self.graphs[index][value].name = names[key]
      }
    }
  }

  /// The network of `model` with these graphs.
  func source(of model: SourceModel) -> SourceModel {
    var source = model
    source.graphs = graphs
    source.quantization = nil
    return source
  }
}

/// Reads batches of inputs for calibration.
private struct CalibrationReader {
  let path: String
  let mostItems: Int

  /// Calls `body` with the inputs of each batch and its number of items.
  /// - Returns: warnings about the data.
  func read(
    for session: Session, _ body: (_ inputs: [String: Tensor], _ items: Int) throws -> Void
  ) throws -> [Warning] {
    guard path.hasSuffix(".npy") else { return try readFolder(for: session, body) }
    guard session.inputs.count == 1, let input = session.inputs.first else {
      throw GraftError(
        .invalidArgument, "the network has \(session.inputs.count) inputs, a .npy file has one",
        at: SourceLocation(file: path), advice: "Give a folder with a .npy file for each input.")
    }
    let array = try NPYArray(contentsOf: path)
    let tensor = try Tensor(array.element, shape: array.shape, bytes: array.bytes)
    guard let rows = tensor.shape.first, rows > 0 else { return [] }
    let rowBytes = tensor.bytes.count / rows
    let free = input.type.shape.dependsOnBatch
    let batch = free ? 8 : max(1, input.type.shape.dimensions.first?.constant ?? 1)
    for start in stride(from: 0, to: min(rows, mostItems), by: batch) {
      let end = min(start + batch, rows)
      guard free || end - start == batch else { break }
      let part = try Tensor(
        tensor.dtype, shape: [end - start] + tensor.shape.dropFirst(),
        bytes: Array(tensor.bytes[start * rowBytes..<end * rowBytes]))
      try at(SourceLocation(file: path)) { try body([input.name: part], end - start) }
    }
    return []
  }

  private func readFolder(
    for session: Session, _ body: (_ inputs: [String: Tensor], _ items: Int) throws -> Void
  ) throws -> [Warning] {
    let network = try ImageNetwork(session.bundle).taking(dataAt: path)
    // Images may have any classes or none that the network knows.
    let (dataset, opening) =
      network.positions == nil && network.picture == nil
      ? try openDataset(
        at: path, for: DatasetRequest(inputs: network.inputs, answers: .none, part: .test))
      : try network.open(path)
    guard session.bundle.manifest.preprocessing != nil || !dataset.holdsImages else {
      throw GraftError(
        .invalidArgument, "these are images, and the network has no preprocessing for images",
        at: SourceLocation(file: path),
        advice: "Give it with --preprocess: imagenet, cifar10 or a JSON file.")
    }
    // Every class, where the data are sorted by class.
    let step = max(1, dataset.count / mostItems)
    let order = Array(stride(from: 0, to: dataset.count, by: step).prefix(mostItems))
    let loader = try network.loader(
      dataset, batchSize: 8, threads: session.threads, order: order)
    while let batch = try loader.next() { try body(network.tensors(batch), batch.count) }
    return opening + loader.warnings
  }
}
