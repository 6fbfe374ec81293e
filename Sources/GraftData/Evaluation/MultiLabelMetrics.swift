// Metrics of multi-label classification. A class counts as predicted if its probability is at least 0.5.

import GraftDiagnostics

/// Accuracy and loss of a multi-label classifier.
public struct MultiLabelMetrics: Sendable {
  public let classCount: Int
  /// The number of items added.
  public private(set) var count = 0
  /// For each class, the number of items that have it, that are predicted to have it, and both.
  public private(set) var supports: [Int]
  public private(set) var predictions: [Int]
  public private(set) var correct: [Int]
  private var rightDecisions = 0
  private var exactItems = 0
  private var hits = 0
  private var hitsInFive = 0
  private var lossSum = 0.0

  /// - Throws: ``GraftError`` of kind `invalidArgument` for no classes.
  public init(classCount: Int) throws {
    guard classCount > 0 else {
      throw GraftError(.invalidArgument, "metrics of \(classCount) classes")
    }
    self.classCount = classCount
    supports = Array(repeating: 0, count: classCount)
    (predictions, correct) = (supports, supports)
  }

  /// Adds one item with one probability and one target (0 or 1) per class.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if the counts do not fit.
  public mutating func add(
    _ probabilities: some RandomAccessCollection<Float>, targets: some RandomAccessCollection<Float>
  ) throws {
    guard probabilities.count == classCount, targets.count == classCount else {
      throw GraftError(
        .invalidArgument,
        "\(probabilities.count) outputs and \(targets.count) targets for \(classCount) classes")
    }
    count += 1
    var right = 0
    for (index, pair) in zip(probabilities, targets).enumerated() {
      let (isTaken, isPresent) = (pair.0 >= 0.5, pair.1 >= 0.5)
      if isPresent { supports[index] += 1 }
      if isTaken { predictions[index] += 1 }
      if isTaken && isPresent { correct[index] += 1 }
      if isTaken == isPresent { right += 1 }
    }
    rightDecisions += right
    if right == classCount { exactItems += 1 }
    let present = targets.map { $0 >= 0.5 }
    let best = Scores.best(5, of: probabilities)
    if let first = best.first, present[first] { hits += 1 }
    if best.contains(where: { present[$0] }) { hitsInFive += 1 }
    lossSum += Scores.binaryCrossEntropy(probabilities: probabilities, targets: targets)
  }

  /// The fraction of (item, class) decisions that are correct; nil before the first item.
  public var accuracy: Double? { ClassificationMetrics.ratio(rightDecisions, count * classCount) }
  /// The fraction of items with all decisions correct; nil before the first item.
  public var exactMatch: Double? { ClassificationMetrics.ratio(exactItems, count) }
  /// The fraction of items that have their most probable class; nil before the first item.
  public var top1: Double? { ClassificationMetrics.ratio(hits, count) }
  /// The fraction of items that have one of their five most probable classes; nil before the first item.
  public var top5: Double? { ClassificationMetrics.ratio(hitsInFive, count) }
  /// The mean binary cross-entropy in nats, over items and classes: PyTorch's BCELoss.
  public var loss: Double? { count == 0 ? nil : lossSum / Double(count) }
}
