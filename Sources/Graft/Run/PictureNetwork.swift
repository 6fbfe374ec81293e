// A session that is fed items of a data set: the bundle's own preprocessing, batches, labels. Prediction
// and evaluation are two uses of it.

import GraftData
import GraftDiagnostics
import GraftIR

/// A bundle as a classifier of items.
package struct PictureNetwork {
  package let bundle: ModelBundle
  package let inputs: [TensorSpecification]
  /// The output with the classes.
  package let output: TensorSpecification
  /// Values that the output has for an item.
  package let outputWidth: Int
  package let activation: Manifest.OutputActivation
  /// What is told of the output before anything runs.
  package private(set) var warnings: [Warning] = []

  /// - Parameter name: the output with the classes; nil takes the one that looks most like it.
  /// - Throws: ``GraftError`` where there is no such output, or it is not one row of numbers an item.
  package init(_ bundle: ModelBundle, output name: String? = nil) throws {
    self.bundle = bundle
    let manifest = bundle.manifest
    let location = SourceLocation(file: bundle.path)
    inputs = try manifest.inputs.map { try Self.specification($0) }
    let names = manifest.outputs.map(\.name.quotedForDisplay).joined(separator: ", ")
    let index =
      name.map { wanted in manifest.outputs.firstIndex { $0.name == wanted } }
      ?? manifest.classOutput ?? 0
    guard let index, manifest.outputs.indices.contains(index) else {
      throw GraftError(
        name == nil ? .unsupported : .invalidArgument,
        name.map { "there is no output \($0.quotedForDisplay)" } ?? "the network has no output",
        at: location, advice: name == nil ? nil : "The outputs are: \(names).")
    }
    let chosen = manifest.outputs[index]
    output = try Self.specification(chosen)
    guard let width = output.elementCount else {
      throw GraftError(
        .invalidBundle, "the output \(chosen.name.quotedForDisplay) is too large: \(output.shape)",
        at: location)
    }
    outputWidth = width
    let each = manifest.outputActivations ?? []
    activation =
      index == manifest.classOutput ?? 0
      ? manifest.outputActivation : each.indices.contains(index) ? each[index] : .none
    if name == nil, manifest.outputs.count > 1 {
      warnings.append(
        Warning(
          "the outputs are \(names): \(chosen.name.quotedForDisplay) is used for the class scores; --output "
            + "NAME chooses another", at: location))
    }
  }

  /// What is told where ``givesProbabilities`` is false.
  package var scoreWarning: Warning? {
    givesProbabilities
      ? nil
      : Warning(
        "the output \(output.name.quotedForDisplay) "
          + (outputWidth == 1
            ? "is a single number without a sigmoid" : "ends in neither a softmax nor a sigmoid")
          + ", so its values are shown as scores, not as probabilities",
        at: SourceLocation(file: bundle.path))
  }

  /// Whether one probability tells two classes apart: the second one's.
  package var isBinary: Bool { activation == .sigmoid && outputWidth == 1 }
  /// Whether each class has a probability of its own.
  package var isMultiLabel: Bool { activation == .sigmoid && outputWidth > 1 }
  /// The classes that the network tells apart.
  package var classCount: Int { isBinary ? 2 : outputWidth }
  /// Whether the output says how probable classes are.
  package var givesProbabilities: Bool {
    activation != .other && (activation == .sigmoid || outputWidth > 1)
  }

  /// An input or output without its first axis, which must be the batch, or 1 where it is not free.
  private static func specification(_ tensor: Manifest.Tensor) throws -> TensorSpecification {
    let type = try tensor.type()
    let shape = type.shape
    guard shape.rank >= 1, shape[0] == .batch || shape[0] == 1,
      let rest = TensorShape(Array(shape.dimensions.dropFirst())).constants
    else {
      throw GraftError(
        .unsupported,
        "\(tensor.name.quotedForDisplay) has the shape \(shape); its first axis must be the batch")
    }
    return TensorSpecification(name: tensor.name, shape: rest, element: type.dtype)
  }

  /// The largest batch of at most `wanted` items that the network takes.
  package func batchSize(_ wanted: Int) -> Int { bundle.manifest.hasFreeBatch ? wanted : 1 }

  /// Opens a data folder for this network.
  package func open(_ path: String) throws -> (dataset: any Dataset, warnings: [Warning]) {
    try openDataset(
      at: path,
      for: DatasetRequest(
        inputs: inputs, answers: isMultiLabel ? .labels : .classes, labels: bundle.manifest.labels,
        classCount: classCount, part: .test))
  }

  /// The layout of what is fed, where that are pictures.
  package var layout: Preprocessing.Layout? {
    guard inputs.count == 1, let shape = inputs.first?.shape else { return nil }
    return bundle.manifest.preprocessing?.layout ?? Preprocessing.Layout(inputShape: shape)
  }

  /// The size of what is fed, where that are pictures.
  package var pictureSize: (height: Int, width: Int)? {
    guard let shape = inputs.first?.shape, shape.count == 3, let layout else { return nil }
    return layout == .nchw ? (shape[1], shape[2]) : (shape[0], shape[1])
  }

  /// - Throws: ``GraftError`` of kind `invalidArgument` where the data are pictures, and the bundle does not
  ///   say how these become its input.
  package func checkCanRead(_ dataset: any Dataset) throws {
    guard dataset.holdsImages, bundle.manifest.preprocessing == nil else { return }
    throw GraftError(
      .invalidArgument, "the bundle has no preprocessing for images",
      at: SourceLocation(file: bundle.path),
      advice: "Recompile it: graft compile BUNDLE -o NEW.graft --preprocess imagenet")
  }

  /// Starts reading `dataset` on `threads` threads, in an order and as random views where these are given.
  package func loader(
    _ dataset: any Dataset, batchSize: Int, threads: Int, order: [Int]? = nil,
    view: (views: PictureViews, number: Int)? = nil
  ) throws -> BatchLoader {
    try checkCanRead(dataset)
    return try BatchLoader(
      dataset, feeding: inputs, preprocessing: bundle.manifest.preprocessing,
      batchSize: self.batchSize(batchSize), threads: threads, order: order, view: view)
  }

  /// The tensors of a batch by input name.
  package func tensors(_ batch: Batch) throws -> [String: Tensor] {
    var tensors: [String: Tensor] = [:]
    for (input, values) in zip(inputs, batch.inputs) {
      tensors[input.name] = try Tensor(values, of: input, count: batch.count)
    }
    return tensors
  }

  /// A number for each class from one row of the output: its probability, with a softmax only where the network
  /// has none, or the network's own number where it gives no probabilities.
  package func scores(_ row: ArraySlice<Float>) -> [Float] {
    switch activation {
    case .sigmoid where isBinary: (row.first.map { [1 - $0, $0] }) ?? []
    case .softmax, .sigmoid, .other: Array(row)
    case .none where outputWidth == 1: Array(row)
    // The softmax of logarithms of probabilities is those probabilities.
    case .logSoftmax, .none: Scores.softmax(row)
    }
  }

  /// The `count` classes that fit a row best.
  package func best(_ count: Int, of row: ArraySlice<Float>) -> [Int] {
    // Logits tell apart what rounds to the same probability.
    Scores.best(count, of: isBinary ? scores(row)[...] : row)
  }

  /// - Throws: ``GraftError`` of kind `invalidData` where the network's answer is no number; the caller says for
  ///   which item.
  package func check(_ row: ArraySlice<Float>) throws {
    let isLogarithm = activation == .logSoftmax || activation == .none
    guard let wrong = row.first(where: { !$0.isFinite && !(isLogarithm && $0 == -.infinity) })
    else { return }
    throw GraftError(
      .invalidData,
      "the network's output \(output.name.quotedForDisplay) contains "
        + (wrong.isNaN ? "NaN" : "an infinite value"),
      advice:
        "Check the item's values and the network's weights: graft run --dump-values DIR writes the "
        + "intermediate values.")
  }

  /// The class's label, or its index where the bundle has no labels.
  package func label(_ index: Int) -> String {
    guard let labels = bundle.manifest.labels, labels.indices.contains(index) else {
      return "\(index)"
    }
    return labels[index]
  }
}

extension Tensor {
  /// Items for an input, as elements of its type.
  /// - Throws: ``GraftError`` of kind `invalidData` for a number that the input does not hold.
  package init(_ numbers: [Float], of input: TensorSpecification, count: Int) throws {
    let bytes = try at(SourceLocation(node: input.name, operatorName: "input")) {
      try input.element.bytes(of: numbers)
    }
    try self.init(input.element, shape: [count] + input.shape, bytes: bytes)
  }
}
