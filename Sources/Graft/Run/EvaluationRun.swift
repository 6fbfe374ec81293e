// Runs of a network that its users share: over all items of a data set, for the evaluators of classes, positions and
// values, and over a list of images, for predictions.

import GraftData
import GraftDiagnostics

/// What a run over a data set came to.
struct EvaluationRun {
  var items: Int
  /// The number of files that could not be read and were skipped.
  var skipped: Int
  var itemsPerSecond: Double
  var warnings: [Warning]
}

extension ImageNetwork {
  /// An item of the data with the network's output for it.
  struct Answer {
    /// Relative to the data set's location.
    var file: String
    var row: ArraySlice<Float>
    var target: Target
  }

  /// Runs the network on all items of `dataset`; broken files are skipped with a warning.
  /// - Parameters:
  ///   - progress: called after every batch with the number of items done and in total.
  ///   - add: called for every item, in order. Its errors get the item's file.
  /// - Throws: ``GraftError`` if an output is not finite, and what `add` throws.
  func run(
    on dataset: any Dataset, with session: Session, batchSize: Int,
    progress: (Int, Int) -> Void, add: (Answer) throws -> Void
  ) throws -> EvaluationRun {
    let clock = ContinuousClock()
    let start = clock.now
    let loader = try loader(dataset, batchSize: batchSize, threads: session.threads)
    while let batch = try loader.next() {
      let values = try session.run(try tensors(batch))[output.name]?.elements ?? []
      guard values.count == batch.count * outputWidth else {
        throw GraftError(.inconsistency, "\(values.count) outputs for \(batch.count) items")
      }
      for (item, index) in batch.indices.enumerated() {
        let row = values[item * outputWidth..<(item + 1) * outputWidth]
        try at(SourceLocation(file: dataset.path(of: index))) {
          try check(row)
          try add(Answer(file: dataset.name(of: index), row: row, target: batch.targets[item]))
        }
      }
      progress(loader.deliveredCount + loader.brokenCount, dataset.count)
    }
    let seconds = (clock.now - start) / .seconds(1)
    return EvaluationRun(
      items: loader.deliveredCount, skipped: loader.brokenCount,
      itemsPerSecond: Double(loader.deliveredCount) / max(seconds, 1e-9),
      warnings: loader.warnings)
  }

  /// Runs the network on images one at a time, so that an output does not depend on other images. If the
  /// preprocessing keeps the sizes of images, each runs in the program for its size.
  /// - Parameter body: called for every image as soon as its output is available, in the order of `paths`, with the
  ///   network with the program that ran and the output, or why there is none: the image cannot be read, or the
  ///   output is not finite.
  /// - Throws: ``GraftError`` if the network cannot run, and errors of `body`.
  func run(
    on paths: [String], with session: Session,
    _ body: (ImageNetwork, _ path: String, Result<[Float], GraftError>) throws -> Void
  ) throws {
    let networks = [self] + (try forOtherSizes())
    let loader = try loader(
      ImageList(paths), batchSize: 1, threads: session.threads,
      otherShapes: networks.dropFirst().map { $0.inputs[0].shape })
    while let (index, item) = try loader.nextItem() {
      var network = self
      var result: Result<[Float], GraftError>
      switch item {
      case .failure(let error): result = .failure(error)
      case .success(let (batch, shape)):
        network = networks[shape]
        let values = try session.run(try network.tensors(batch))[output.name]?.elements ?? []
        result = .success(values)
        do { try check(values[...]) } catch let error as GraftError { result = .failure(error) }
      }
      try body(network, paths[index], result)
    }
  }
}
