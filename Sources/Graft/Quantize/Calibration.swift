// Runs a network in float32 on data like those that it will see, and looks at all of its values.

import Foundation
import GraftData
import GraftDiagnostics
import GraftIR
import GraftOps

/// The ranges of a network's values over data.
struct ValueRanges {
  /// By the values of the graph that was given.
  var ranges: [ValueID: ClosedRange<Float>]
  var items: Int
  var warnings: [Warning]

  /// - Parameters:
  ///   - graph: the network after the passes of ``Pipeline/inference``.
  ///   - model: the network's preprocessing and labels.
  /// - Throws: ``GraftError`` of kind `invalidData` where the data have no items.
  init(
    of graph: Graph, _ model: SourceModel, _ options: QuantizationOptions,
    compiler: Compiler
  ) throws {
    var named = graph
    var values: [String: ValueID] = [:]
    for value in graph.nodes.flatMap(\.results) + graph.inputs
    where graph.type(of: value).dtype == .float32 {
      if graph.inputs.contains(value) {
        values[graph[value].name ?? ""] = value
      } else {
        let name = named.unusedName("value \(value.index)")
        named[value].name = name
        values[name] = value
      }
    }
    let folder = try TemporaryFolder()
    let path = ModelBundle.join(folder.path, "float32.graft")
    var plain = Compiler.Options()
    plain.target = compiler.options.target
    plain.progress = compiler.options.progress
    var source = model
    source.graphs = [named]
    try Compiler(plain).compile(source, to: path)
    let session = try Session(ModelBundle(opening: path))
    var histograms: [ValueID: ValueHistogram] = [:]
    var seen = 0
    func observe(_ inputs: [String: Tensor], items: Int) throws {
      let found = try session.runKeepingValues(inputs).values
      for (name, tensor) in found.merging(inputs, uniquingKeysWith: { first, _ in first }) {
        guard let value = values[name] else { continue }
        histograms[value, default: ValueHistogram()].add(tensor.elements)
      }
      seen += items
      compiler.options.progress("calibrating on \(seen) items")
    }
    let reader = CalibrationReader(path: options.calibrationData, mostItems: options.mostItems)
    warnings = try reader.read(for: session, observe)
    guard seen > 0 else {
      throw GraftError(
        .invalidData, "there is nothing to calibrate with",
        at: SourceLocation(file: options.calibrationData),
        advice: "Give a folder of images as for graft evaluate, or a .npy file of inputs.")
    }
    items = seen
    let broken = histograms.filter { $0.value.isBroken }
    if !broken.isEmpty {
      let text = broken.count == 1 ? "1 value has" : "\(broken.count) values have"
      warnings.append(
        Warning("\(text) infinite numbers or NaN on the calibration data and stay float32"))
    }
    ranges = histograms.compactMapValues { $0.range(by: options.method) }
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
    let network = try ImageNetwork(session.bundle)
    let (dataset, opening) = try network.open(path)
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
    while let batch = try loader.next() {
      var inputs: [String: Tensor] = [:]
      for (input, values) in zip(network.inputs, batch.inputs) {
        inputs[input.name] = try Tensor(
          shape: [batch.indices.count] + input.shape, elements: values)
      }
      try body(inputs, batch.indices.count)
    }
    return opening + loader.warnings
  }
}
