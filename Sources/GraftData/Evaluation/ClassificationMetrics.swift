// Accuracy, top-k, loss and the confusion matrix of a classifier, item by item. Precision and recall
// are defined as in scikit-learn's precision_recall_fscore_support.

import GraftDiagnostics

/// Accuracy, loss and confusion matrix of a single-label classifier.
public struct ClassificationMetrics: Sendable {
  /// What the network's outputs are.
  public enum OutputKind: Hashable, Sendable {
    /// Logits, whose softmax is the probabilities.
    case logits
    case probabilities
    /// Independent probabilities per class: the loss is the mean binary cross-entropy over the classes.
    case independent
    /// Neither logits nor probabilities: there is no loss.
    case scores
  }

  /// The metrics of one class.
  public struct ClassReport: Hashable, Sendable {
    public var index: Int
    /// Items of this class.
    public var support: Int
    /// Items predicted as this class.
    public var predicted: Int
    /// Items of this class predicted as it.
    public var correct: Int

    /// correct / predicted; nil if nothing was predicted as it.
    public var precision: Double? { ClassificationMetrics.ratio(correct, predicted) }
    /// correct / support; nil if there are no items of it.
    public var recall: Double? { ClassificationMetrics.ratio(correct, support) }
    /// The harmonic mean of precision and recall.
    public var f1: Double? { ClassificationMetrics.ratio(2 * correct, predicted + support) }
  }

  public let classCount: Int
  public let outputKind: OutputKind
  /// The k of ``topK``: 5, or the number of classes if that is smaller.
  public let k: Int
  /// The number of items added.
  public private(set) var count = 0
  /// The number of items with a non-finite output; they count as wrong and are excluded from loss and
  /// confusion matrix.
  public private(set) var nonFiniteCount = 0
  public private(set) var confusion: ConfusionMatrix
  private var correct = 0
  private var correctInK = 0
  private var lossSum = 0.0

  /// - Throws: ``GraftError`` of kind `invalidArgument` for no classes.
  public init(classCount: Int, outputKind: OutputKind, k: Int = 5) throws {
    guard classCount > 0, k > 0 else {
      throw GraftError(.invalidArgument, "metrics of \(classCount) classes, top \(k)")
    }
    self.classCount = classCount
    self.outputKind = outputKind
    self.k = min(k, classCount)
    confusion = try ConfusionMatrix(classCount: classCount)
  }

  /// Adds a batch.
  /// - Parameters:
  ///   - outputs: [items, classes], row-major.
  ///   - labels: the class of each item.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if the counts do not match, or a label is out of
  ///   range.
  public mutating func add(outputs: [Float], labels: [Int]) throws {
    guard outputs.count == labels.count * classCount else {
      throw GraftError(
        .invalidArgument,
        "\(outputs.count) outputs for \(labels.count) items of \(classCount) classes")
    }
    for (item, label) in labels.enumerated() {
      try add(outputs[item * classCount..<(item + 1) * classCount], label: label)
    }
  }

  /// Adds one item with one output per class.
  public mutating func add(_ outputs: ArraySlice<Float>, label: Int) throws {
    guard outputs.count == classCount else {
      throw GraftError(.invalidArgument, "\(outputs.count) outputs for \(classCount) classes")
    }
    guard label >= 0, label < classCount else {
      throw GraftError(
        .invalidArgument, "the label \(label) is outside the network's \(classCount) classes")
    }
    count += 1
    guard outputs.allSatisfy(\.isFinite) else {
      nonFiniteCount += 1
      return
    }
    let first = outputs.startIndex
    let own = outputs[first + label]
    // The label's rank, with ties in favor of the lower index.
    var rank = 0
    var best = first
    for index in outputs.indices {
      let value = outputs[index]
      if value > own || (value == own && index < first + label) { rank += 1 }
      if value > outputs[best] { best = index }
    }
    if rank == 0 { correct += 1 }
    if rank < k { correctInK += 1 }
    switch outputKind {
    case .logits: lossSum += Scores.crossEntropy(logits: outputs, label: own)
    case .probabilities: lossSum += Scores.crossEntropy(probability: own)
    case .independent:
      lossSum += Scores.binaryCrossEntropy(
        probabilities: outputs, targets: outputs.indices.map { $0 == first + label ? 1 : 0 })
    case .scores: break
    }
    confusion.add(label: label, prediction: best - first)
  }

  /// The fraction of items whose predicted class is correct; nil before the first item.
  public var top1: Double? { Self.ratio(correct, count) }
  /// The fraction of items whose true class is among the ``k`` best.
  public var topK: Double? { Self.ratio(correctInK, count) }
  /// The mean cross-entropy in nats, over items with finite outputs; nil for scores.
  public var loss: Double? {
    outputKind == .scores || count == nonFiniteCount
      ? nil : lossSum / Double(count - nonFiniteCount)
  }

  public var classReports: [ClassReport] {
    let supports = confusion.supports, predictions = confusion.predictions
    return (0..<classCount).map { index in
      ClassReport(
        index: index, support: supports[index], predicted: predictions[index],
        correct: confusion[label: index, prediction: index])
    }
  }

  static func ratio(_ part: Int, _ whole: Int) -> Double? {
    whole == 0 ? nil : Double(part) / Double(whole)
  }
}
