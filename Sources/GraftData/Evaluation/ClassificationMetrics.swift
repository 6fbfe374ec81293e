// Accuracy, top-k, loss and the confusion matrix of a classifier, item by item. Precision and recall
// are defined as in scikit-learn's precision_recall_fscore_support.

import GraftDiagnostics

/// How often, and how surely, a classifier was right.
public struct ClassificationMetrics: Sendable {
  /// What the network's outputs are.
  public enum OutputKind: Hashable, Sendable {
    /// Any numbers: a softmax makes probabilities of them.
    case logits
    case probabilities
    /// A probability for each class by itself: the loss is the mean binary cross-entropy over the classes.
    case independent
    /// Numbers that are neither: there is no loss.
    case scores
  }

  /// The figures of one class.
  public struct ClassReport: Hashable, Sendable {
    public var index: Int
    /// Items of this class.
    public var support: Int
    /// Items taken for this class.
    public var predicted: Int
    /// Items of this class taken for it.
    public var correct: Int

    /// correct / predicted; nil if nothing was taken for it.
    public var precision: Double? { ClassificationMetrics.ratio(correct, predicted) }
    /// correct / support; nil if there was none of it.
    public var recall: Double? { ClassificationMetrics.ratio(correct, support) }
    /// The harmonic mean of precision and recall.
    public var f1: Double? { ClassificationMetrics.ratio(2 * correct, predicted + support) }
  }

  public let classCount: Int
  public let outputKind: OutputKind
  /// The k of ``topK``: 5, or the number of classes where there are fewer.
  public let k: Int
  /// Items added.
  public private(set) var count = 0
  /// Items with an output that is no finite number: never right, and outside loss and confusion.
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

  /// Adds a batch: items × classes outputs, a label per item.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if the counts do not fit, or a label is no
  ///   class.
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

  /// Adds one item: an output a class.
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
    // The label's rank, the lower index first among equals: no sorting needed.
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

  /// The fraction of items whose best class is their own; nil before the first item.
  public var top1: Double? { Self.ratio(correct, count) }
  /// The fraction of items whose own class is among the best ``k``.
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
