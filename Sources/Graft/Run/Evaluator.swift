// Evaluation: a labelled data set through a network, and how often it was right.

import Foundation
import GraftData
import GraftDiagnostics

/// Measures how well a bundle does on labelled data.
public struct Evaluator {
  /// What was found for one item.
  public struct Prediction: Sendable {
    public var file: String
    public var label: String
    public var predicted: String
    public var probability: Double
  }

  /// What was found for one class.
  public struct ClassResult: Encodable, Sendable {
    public var label: String
    public var images: Int
    /// Absent where nothing was taken for the class.
    public var precision: Double?
    /// Absent where the data has none of the class.
    public var recall: Double?
  }

  /// The JSON object of `graft evaluate --json`; accuracies are fractions, the loss is in nats.
  public struct Report: Encodable, Sendable {
    public var images: Int
    /// Files that could not be read, and were left out.
    public var skipped: Int
    public var top1: Double
    public var top5: Double
    /// Mean cross-entropy; absent where every output was no finite number.
    public var loss: Double?
    public var imagesPerSecond: Double
    public var classes: [ClassResult]

    enum CodingKeys: String, CodingKey {
      case images, skipped, top1, top5, loss, classes
      case imagesPerSecond = "images_per_second"
    }
  }

  public private(set) var warnings: [Warning] = []
  public private(set) var confusion: ConfusionMatrix
  public private(set) var predictions: [Prediction] = []
  private let network: PictureNetwork
  private let session: Session

  /// - Throws: ``GraftError`` where the bundle is damaged or is no classifier.
  public init(_ bundle: ModelBundle, threads: Int = AvailableCores.count, batchSize: Int = 64)
    throws
  {
    network = try PictureNetwork(bundle)
    session = try Session(bundle, threads: threads, largestBatch: network.batchSize(batchSize))
    confusion = try ConfusionMatrix(classCount: network.classCount)
    self.batchSize = network.batchSize(batchSize)
  }

  private let batchSize: Int

  /// Runs the network on all of the data at `path`.
  /// - Parameter progress: called after every batch with the items done and the items there are.
  /// - Throws: ``GraftError`` where the data cannot be used; broken files are left out and told of.
  public mutating func evaluate(
    _ path: String, progress: (Int, Int) -> Void = { _, _ in }
  ) throws -> Report {
    let (dataset, opening) = try network.open(path)
    warnings += opening
    var metrics = try ClassificationMetrics(
      classCount: network.classCount,
      outputKind: network.bundle.manifest.outputActivation == .softmax ? .probabilities : .logits)
    let clock = ContinuousClock()
    let start = clock.now
    let loader = try network.loader(dataset, batchSize: batchSize, threads: session.threads)
    while let batch = try loader.next() {
      let outputs = try session.run(try network.tensors(batch))
      let rows = outputs[network.output.name]?.elements ?? []
      try add(batch, rows: rows, of: dataset, to: &metrics)
      progress(loader.deliveredCount + loader.brokenCount, dataset.count)
    }
    let seconds = (clock.now - start) / .seconds(1)
    warnings += loader.warnings
    confusion = metrics.confusion
    return Report(
      images: metrics.count, skipped: loader.brokenCount, top1: metrics.top1 ?? 0,
      top5: metrics.topK ?? 0, loss: metrics.loss,
      imagesPerSecond: Double(metrics.count) / max(seconds, 1e-9),
      classes: metrics.classReports.map {
        ClassResult(
          label: network.label($0.index), images: $0.support, precision: $0.precision,
          recall: $0.recall)
      })
  }

  private mutating func add(
    _ batch: Batch, rows: [Float], of dataset: any Dataset, to metrics: inout ClassificationMetrics
  ) throws {
    let width = network.classCount
    guard rows.count == batch.count * width else {
      throw GraftError(.inconsistency, "\(rows.count) outputs for \(batch.count) items")
    }
    for item in 0..<batch.count {
      guard case .label(let label) = batch.targets[item] else {
        throw GraftError(
          .invalidData, "\(dataset.name(of: batch.indices[item]).quotedForDisplay) has no class",
          at: SourceLocation(file: dataset.location),
          advice: "Evaluation needs a folder for each class, or class indices in y.npy.")
      }
      let row = rows[item * width..<(item + 1) * width]
      try metrics.add(row, label: label)
      let best = Scores.best(1, of: row).first ?? 0
      predictions.append(
        Prediction(
          file: dataset.name(of: batch.indices[item]), label: network.label(label),
          predicted: network.label(best),
          probability: Double(network.probabilities(row)[best])))
    }
  }

  /// The classes' labels in the order of the confusion matrix.
  public var labels: [String] { (0..<network.classCount).map(network.label) }

  /// Writes the confusion matrix as a picture or a table, by the ending of `path`.
  /// - Throws: ``GraftError`` of kind `invalidArgument` for another ending.
  public func writeConfusion(to path: String) throws {
    let file = try FileReplacement(at: path)
    switch URL(filePath: path).pathExtension.lowercased() {
    case "svg":
      try file.write(
        Array(confusion.drawing(classes: labels, hasAxes: true).svg(isFile: true).utf8))
    case "png": try file.write(confusion.drawing(classes: labels, hasAxes: true).png())
    case "csv": try file.write(Array(confusion.csv(classes: labels).utf8))
    default:
      throw GraftError(
        .invalidArgument, "the confusion matrix is written as .svg, .png or .csv",
        at: SourceLocation(file: path))
    }
  }

  /// Writes a line for every item: file, its class, the class it was taken for, with what probability.
  public func writePredictions(to path: String) throws {
    var text = CSV.line(["file", "class", "predicted", "probability"])
    for prediction in predictions {
      text += CSV.line([
        prediction.file, prediction.label, prediction.predicted, "\(prediction.probability)",
      ])
    }
    try FileReplacement(at: path).write(Array(text.utf8))
  }
}
