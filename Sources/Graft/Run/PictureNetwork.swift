// A session that is fed items of a data set: the bundle's own preprocessing, batches, labels. Prediction
// and evaluation are two uses of it.

import GraftData
import GraftDiagnostics
import GraftIR

/// A bundle as a classifier of items.
struct PictureNetwork {
  let bundle: ModelBundle
  let inputs: [TensorSpecification]
  let output: TensorSpecification
  /// The width of the first output.
  let classCount: Int

  /// - Throws: ``GraftError`` where the first output is not one row of numbers an item.
  init(_ bundle: ModelBundle) throws {
    self.bundle = bundle
    inputs = try bundle.manifest.inputs.map { try Self.specification($0) }
    guard let first = bundle.manifest.outputs.first else {
      throw GraftError(
        .unsupported, "the network has no output", at: SourceLocation(file: bundle.path))
    }
    output = try Self.specification(first)
    guard let classCount = output.elementCount else {
      throw GraftError(
        .invalidBundle, "the output \(first.name.quotedForDisplay) is too large: \(output.shape)",
        at: SourceLocation(file: bundle.path))
    }
    self.classCount = classCount
  }

  /// An input or output without its first axis, which must be the batch, or 1 where it is not free.
  private static func specification(_ tensor: Manifest.Tensor) throws -> TensorSpecification {
    let shape = try tensor.type().shape
    guard shape.rank >= 1, shape[0] == .batch || shape[0] == 1,
      let rest = TensorShape(Array(shape.dimensions.dropFirst())).constants
    else {
      throw GraftError(
        .unsupported,
        "\(tensor.name.quotedForDisplay) has the shape \(shape); its first axis must be the batch")
    }
    return TensorSpecification(name: tensor.name, shape: rest)
  }

  /// The largest batch of at most `wanted` items that the network takes.
  func batchSize(_ wanted: Int) -> Int { bundle.manifest.hasFreeBatch ? wanted : 1 }

  /// Opens a data folder for this network.
  func open(_ path: String) throws -> (dataset: any Dataset, warnings: [Warning]) {
    try openDataset(
      at: path,
      for: DatasetRequest(
        inputs: inputs, labels: bundle.manifest.labels, classCount: classCount, part: .test))
  }

  /// Starts reading `dataset` on `threads` threads, in an order and as random views where these are given.
  func loader(
    _ dataset: any Dataset, batchSize: Int, threads: Int, order: [Int]? = nil,
    view: (views: PictureViews, number: Int)? = nil
  ) throws -> BatchLoader {
    if dataset.holdsImages, bundle.manifest.preprocessing == nil {
      throw GraftError(
        .invalidArgument, "the bundle does not say how pictures become its input",
        at: SourceLocation(file: bundle.path),
        advice: "Compile it again: graft compile BUNDLE -o NEW.graft --preprocess imagenet")
    }
    return try BatchLoader(
      dataset, feeding: inputs, preprocessing: bundle.manifest.preprocessing,
      batchSize: self.batchSize(batchSize), threads: threads, order: order, view: view)
  }

  /// The tensors of a batch by input name.
  func tensors(_ batch: Batch) throws -> [String: Tensor] {
    var tensors: [String: Tensor] = [:]
    for (input, values) in zip(inputs, batch.inputs) {
      tensors[input.name] = try Tensor(shape: [batch.count] + input.shape, elements: values)
    }
    return tensors
  }

  /// Probabilities from one row of the first output: a softmax only where the network has none.
  func probabilities(_ row: ArraySlice<Float>) -> [Float] {
    switch bundle.manifest.outputActivation {
    case .softmax: Array(row)
    // The softmax of logarithms of probabilities is those probabilities.
    case .logSoftmax, .none: Scores.softmax(row)
    }
  }

  /// The class's label, or its index where the bundle has no labels.
  func label(_ index: Int) -> String {
    guard let labels = bundle.manifest.labels, labels.indices.contains(index) else {
      return "\(index)"
    }
    return labels[index]
  }
}
