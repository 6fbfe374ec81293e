// Opening and reading data for a network.

import GraftData
import GraftDiagnostics
import GraftIR

extension ImageNetwork {
  /// Opens a data folder for this network.
  package func open(
    _ path: String, answers: TargetKind? = nil
  ) throws -> (dataset: any Dataset, warnings: [Warning]) {
    try openDataset(
      at: path,
      for: DatasetRequest(
        inputs: inputs,
        answers: answers
          ?? (positions == nil && picture == nil
            ? (isMultiLabel ? .labels : .classes) : targetKind),
        labels: bundle.manifest.labels,
        classCount: classCount, part: .test))
  }

  /// The layout of the input, if it is an image.
  package var layout: Preprocessing.Layout? {
    guard inputs.count == 1, let shape = inputs.first?.shape else { return nil }
    return bundle.manifest.preprocessing?.layout ?? Preprocessing.Layout(inputShape: shape)
  }

  /// The size of the input, if it is an image.
  package var pictureSize: (height: Int, width: Int)? {
    guard let shape = inputs.first?.shape, shape.count == 3, let layout else { return nil }
    return layout == .nchw ? (shape[1], shape[2]) : (shape[0], shape[1])
  }

  /// - Throws: ``GraftError`` of kind `invalidArgument` if the data are images and the bundle has no
  ///   preprocessing that makes them inputs of this program.
  package func checkCanRead(_ dataset: any Dataset) throws {
    guard dataset.holdsImages else { return }
    guard let preprocessing = bundle.manifest.preprocessing else {
      throw GraftError(
        .invalidArgument, "the bundle has no preprocessing for images",
        at: SourceLocation(file: bundle.path),
        advice: "Recompile it: graft compile BUNDLE -o NEW.graft --preprocess imagenet")
    }
    guard inputs.count != 1 || preprocessing.gives(inputs[0].shape) else {
      throw GraftError(
        .invalidArgument,
        "these are images, which the bundle's preprocessing does not make inputs of shape "
          + "\(TensorShape(inputs[0].shape))", at: SourceLocation(file: dataset.location),
        advice: "Use data of one kind and size, or recompile the bundle with another --preprocess.")
    }
  }

  /// Starts reading `dataset` on `threads` threads, optionally in a given order and as random views.
  /// - Parameter otherShapes: as of ``BatchLoader``.
  package func loader(
    _ dataset: any Dataset, batchSize: Int, threads: Int, order: [Int]? = nil,
    view: (views: AugmentedViews, number: Int)? = nil, otherShapes: [[Int]] = []
  ) throws -> BatchLoader {
    try checkCanRead(dataset)
    return try BatchLoader(
      dataset, feeding: inputs, preprocessing: bundle.manifest.preprocessing,
      batchSize: self.batchSize(batchSize), threads: threads, order: order, view: view,
      otherShapes: otherShapes, mapSize: mapSize, picture: picture)
  }
}
