// Evaluation of a network with a class for every position, such as the pixels of an image.

import Foundation
import GraftData
import GraftDiagnostics

/// Measures pixel accuracy and intersection over union of a bundle on images with masks, or on tensors.
///
/// Masks are resized and cropped like the images, to the size of the network's output; 255 counts nothing.
public struct SegmentationEvaluator {
  /// The results for one class.
  public struct ClassResult: Encodable, Sendable {
    public var label: String
    /// The number of pixels of the class.
    public var pixels: Int
    /// The pixels that are of the class and were predicted as it, over those that are or were, 0 to 1; nil if
    /// there are none.
    public var intersectionOverUnion: Double?
    /// The fraction of pixels of the class that were predicted as it, 0 to 1; nil if there are none.
    public var recall: Double?

    enum CodingKeys: String, CodingKey {
      case label, pixels, recall
      case intersectionOverUnion = "iou"
    }
  }

  /// The results for one item.
  public struct ItemResult: Sendable {
    public var file: String
    /// Over the item's pixels with a class; nil if it has none.
    public var accuracy: Double?
    public var meanIntersectionOverUnion: Double?
  }

  /// The JSON object of `graft evaluate --json`; accuracies are fractions, the loss is in nats.
  public struct Report: Encodable, Sendable {
    public var images: Int
    /// The number of files that could not be read and were skipped.
    public var skipped: Int
    /// The fraction of pixels whose class was predicted.
    public var pixelAccuracy: Double
    /// The mean over classes that are present or predicted (Everingham et al. 2015).
    public var meanIntersectionOverUnion: Double
    /// The mean cross-entropy of a pixel; nil if the network's outputs are not probabilities.
    public var loss: Double?
    public var imagesPerSecond: Double
    public var classes: [ClassResult]

    enum CodingKeys: String, CodingKey {
      case images, skipped, loss, classes
      case pixelAccuracy = "pixel_accuracy"
      case meanIntersectionOverUnion = "mean_iou"
      case imagesPerSecond = "images_per_second"
    }
  }

  public private(set) var warnings: [Warning] = []
  /// What the data were, once they were evaluated.
  public private(set) var data = ""
  public private(set) var items: [ItemResult] = []
  private var network: ImageNetwork
  private let session: Session
  private let batchSize: Int
  private var metrics: PositionMetrics

  /// - Throws: ``GraftError`` if the bundle is damaged or has no class for every position.
  public init(
    _ bundle: ModelBundle, threads: Int = AvailableCores.count, batchSize: Int = 64
  ) throws {
    network = try ImageNetwork(bundle)
    try network.requirePositions()
    self.batchSize = batchSize
    session = try Session(
      bundle, threads: threads, largestBatch: network.batchSize(batchSize),
      program: network.program)
    metrics = try PositionMetrics(
      classCount: network.classCount, outputKind: network.positionKind)
    warnings = network.warnings
  }

  /// Runs the network on all of the data at `path`.
  /// - Parameter progress: called after every batch with the number of items done and in total.
  /// - Throws: ``GraftError`` if the data cannot be used; broken files are skipped with a warning.
  public mutating func evaluate(
    _ path: String, progress: (Int, Int) -> Void = { _, _ in }
  ) throws -> Report {
    network = try network.taking(dataAt: path)
    let (dataset, opening) = try network.open(path)
    warnings += opening
    data = dataset.summary
    let run = try network.run(
      on: dataset, with: session, batchSize: batchSize, progress: progress
    ) { try add($0, of: dataset) }
    warnings += run.warnings
    guard let accuracy = metrics.accuracy, let mean = metrics.meanIntersectionOverUnion else {
      throw GraftError(
        .invalidData, "no pixel has a class: all are \(LabelMap.ignored)",
        at: SourceLocation(file: path))
    }
    return Report(
      images: run.items, skipped: run.skipped, pixelAccuracy: accuracy,
      meanIntersectionOverUnion: mean, loss: metrics.loss,
      imagesPerSecond: run.itemsPerSecond,
      classes: metrics.classReports.map {
        ClassResult(
          label: network.label($0.index), pixels: $0.support,
          intersectionOverUnion: $0.intersectionOverUnion, recall: $0.recall)
      })
  }

  private mutating func add(_ answer: ImageNetwork.Answer, of dataset: any Dataset) throws {
    guard case .map(let map) = answer.target, let scores = network.positionScores(answer.row)
    else {
      throw GraftError(
        .invalidData, "\(answer.file.quotedForDisplay) has no mask",
        at: SourceLocation(file: dataset.location))
    }
    var own = try PositionMetrics(
      classCount: network.classCount, outputKind: network.positionKind)
    try own.add(scores, labels: map.values)
    metrics.add(own)
    items.append(
      ItemResult(
        file: answer.file, accuracy: own.accuracy,
        meanIntersectionOverUnion: own.meanIntersectionOverUnion))
  }

  /// Writes the confusion matrix of pixels as SVG, PNG or CSV, by the extension of `path`.
  /// - Throws: ``GraftError`` of kind `invalidArgument` for another extension.
  public func writeConfusion(to path: String) throws {
    try metrics.confusion().write(
      to: path, classes: (0..<network.classCount).map(network.label))
  }

  /// Writes one CSV line per item: file, pixel accuracy, mean intersection over union.
  public func writePredictions(to path: String) throws {
    var text = CSV.line(["file", "pixel_accuracy", "mean_iou"])
    for item in items {
      text += CSV.line([
        item.file, item.accuracy.map { "\($0)" } ?? "",
        item.meanIntersectionOverUnion.map { "\($0)" } ?? "",
      ])
    }
    try FileReplacement(at: path).write(Array(text.utf8))
  }
}
