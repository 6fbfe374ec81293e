// Evaluation of a network on a labeled data set.

import Foundation
import GraftData
import GraftDiagnostics

/// Measures the accuracy of a bundle on labeled data.
public struct Evaluator {
  /// The result for one item.
  public struct Prediction: Sendable {
    public var file: String
    public var label: String
    public var predicted: String
    /// The probability of `predicted`, or its score if the network's outputs are not probabilities.
    public var probability: Double
  }

  /// The results for one class.
  public struct ClassResult: Encodable, Sendable {
    public var label: String
    public var images: Int
    /// The fraction of items predicted as the class that have it, 0 to 1; nil if there are none.
    public var precision: Double?
    /// The fraction of items of the class that were predicted as it, 0 to 1; nil if there are none.
    public var recall: Double?
  }

  /// The JSON object of `graft evaluate --json`; accuracies are fractions, the loss is in nats.
  public struct Report: Encodable, Sendable {
    public var images: Int
    /// The number of files that could not be read and were skipped.
    public var skipped: Int
    public var top1: Double
    public var top5: Double
    /// The mean cross-entropy in nats (binary for multi-label networks); nil if the network's outputs are not
    /// probabilities.
    public var loss: Double?
    /// For multi-label data: the fraction of (item, class) decisions that are correct, and the fraction of
    /// items with all decisions correct. ``top1`` and ``top5`` are then the fractions of items that have the
    /// most probable class, or one of the five most probable.
    public var accuracy: Double?
    public var exactMatch: Double?
    public var imagesPerSecond: Double
    public var classes: [ClassResult]

    enum CodingKeys: String, CodingKey {
      case images, skipped, top1, top5, loss, accuracy, classes
      case exactMatch = "exact_match"
      case imagesPerSecond = "images_per_second"
    }
  }

  public private(set) var warnings: [Warning] = []
  /// What the data were, once they were evaluated.
  public private(set) var data = ""
  public private(set) var confusion: ConfusionMatrix
  public private(set) var predictions: [Prediction] = []
  private var network: ImageNetwork
  private let session: Session

  /// - Parameter output: the class output; nil takes the one that looks most like class scores.
  /// - Throws: ``GraftError`` if the bundle is damaged or is not a classifier.
  public init(
    _ bundle: ModelBundle, output: String? = nil, threads: Int = AvailableCores.count,
    batchSize: Int = 64
  ) throws {
    network = try ImageNetwork(bundle, output: output)
    try network.requireClasses()
    warnings = network.warnings + [network.scoreWarning].compactMap(\.self)
    session = try Session(
      bundle, threads: threads, largestBatch: network.batchSize(batchSize),
      program: network.program)
    confusion = try ConfusionMatrix(classCount: network.classCount)
    several = try MultiLabelMetrics(classCount: network.classCount)
    self.batchSize = batchSize
  }

  private let batchSize: Int
  /// Metrics of multi-label data.
  private var several: MultiLabelMetrics

  private var outputKind: ClassificationMetrics.OutputKind {
    guard network.givesProbabilities else { return .scores }
    if network.isMultiLabel { return .independent }
    return network.isBinary || network.activation == .softmax ? .probabilities : .logits
  }

  /// Runs the network on all of the data at `path`.
  /// - Parameter progress: called after every batch with the number of items done and in total.
  /// - Throws: ``GraftError`` if the data cannot be used; broken files are skipped with a warning.
  public mutating func evaluate(
    _ path: String, progress: (Int, Int) -> Void = { _, _ in }
  ) throws -> Report {
    network = try network.taking(dataAt: path)
    several = try MultiLabelMetrics(classCount: network.classCount)
    let (dataset, opening) = try network.open(path)
    warnings += opening
    data = dataset.summary
    var metrics = try ClassificationMetrics(
      classCount: network.classCount, outputKind: outputKind)
    let run = try network.run(
      on: dataset, with: session, batchSize: batchSize, progress: progress
    ) { try add($0, of: dataset, to: &metrics) }
    warnings += run.warnings
    confusion = metrics.confusion
    guard several.count == 0 else {
      return severalReport(skipped: run.skipped, imagesPerSecond: run.itemsPerSecond)
    }
    return Report(
      images: metrics.count, skipped: run.skipped, top1: metrics.top1 ?? 0,
      top5: metrics.topK ?? 0, loss: metrics.loss,
      imagesPerSecond: run.itemsPerSecond,
      classes: metrics.classReports.map {
        ClassResult(
          label: network.label($0.index), images: $0.support, precision: $0.precision,
          recall: $0.recall)
      })
  }

  private func severalReport(skipped: Int, imagesPerSecond: Double) -> Report {
    Report(
      images: several.count, skipped: skipped, top1: several.top1 ?? 0, top5: several.top5 ?? 0,
      loss: several.loss, accuracy: several.accuracy, exactMatch: several.exactMatch,
      imagesPerSecond: imagesPerSecond,
      classes: (0..<network.classCount).map { index in
        func share(_ whole: Int) -> Double? {
          whole == 0 ? nil : Double(several.correct[index]) / Double(whole)
        }
        return ClassResult(
          label: network.label(index), images: several.supports[index],
          precision: share(several.predictions[index]), recall: share(several.supports[index]))
      })
  }

  private mutating func add(
    _ answer: ImageNetwork.Answer, of dataset: any Dataset,
    to metrics: inout ClassificationMetrics
  ) throws {
    let scores = network.scores(answer.row)
    let best = network.best(1, of: answer.row).first ?? 0
    let own: [Int]
    switch answer.target {
    case .label(let label):
      try metrics.add(network.isBinary ? scores[...] : answer.row, label: label)
      own = [label]
    case .values(let values) where network.isMultiLabel && values.count == network.outputWidth:
      try several.add(scores, targets: values)
      own = values.indices.filter { values[$0] >= 0.5 }
    default:
      throw GraftError(
        .invalidData, "\(answer.file.quotedForDisplay) has no class",
        at: SourceLocation(file: dataset.location),
        advice: "Evaluation needs one folder per class, or class indices in y.npy"
          + (network.isMultiLabel ? ", or a 0 or 1 per class." : "."))
    }
    let taken =
      several.count > 0 ? scores.indices.filter { scores[$0] >= 0.5 } : [best]
    predictions.append(
      Prediction(
        file: answer.file, label: own.map(network.label).joined(separator: "|"),
        predicted: taken.map(network.label).joined(separator: "|"),
        probability: Double(scores[best])))
  }

  /// The class labels in the order of the confusion matrix.
  public var labels: [String] { (0..<network.classCount).map(network.label) }

  /// Writes the confusion matrix as SVG, PNG or CSV, by the extension of `path`.
  /// - Throws: ``GraftError`` of kind `invalidArgument` for another extension.
  public func writeConfusion(to path: String) throws {
    guard several.count == 0 else {
      throw GraftError(
        .invalidArgument, "a confusion matrix needs one class per item, but the items have several",
        at: SourceLocation(file: path))
    }
    try confusion.write(to: path, classes: labels)
  }

  /// Writes one CSV line per item: file, true class, predicted class, probability.
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

extension ConfusionMatrix {
  /// Writes the matrix as SVG, PNG or CSV, by the extension of `path`.
  /// - Throws: ``GraftError`` of kind `invalidArgument` for another extension.
  func write(to path: String, classes: [String]) throws {
    let file = try FileReplacement(at: path)
    switch URL(filePath: path).pathExtension.lowercased() {
    case "svg":
      try file.write(Array(drawing(classes: classes, hasAxes: true).svg(isFile: true).utf8))
    case "png": try file.write(drawing(classes: classes, hasAxes: true).png())
    case "csv": try file.write(Array(csv(classes: classes).utf8))
    default:
      throw GraftError(
        .invalidArgument, "the confusion matrix must be a .svg, .png or .csv file",
        at: SourceLocation(file: path))
    }
  }
}
