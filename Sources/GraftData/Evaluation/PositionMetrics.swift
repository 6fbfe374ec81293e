// Accuracy, intersection over union and loss of networks that classify every position, such as every pixel.

import Foundation
import GraftDiagnostics

/// The class scores of an item's positions in memory.
public struct PositionScores: Sendable {
  public var values: ArraySlice<Float>
  /// The number of positions, and of scores of each.
  public var count: Int
  public var units: Int
  /// The distance in memory between a position's scores, which is 1 if they are together.
  public var stride: Int

  /// - Parameters:
  ///   - values: [outer, units, inner] with `stride` as the product of the inner axes.
  public init(_ values: ArraySlice<Float>, units: Int, stride: Int) {
    self.values = values
    self.units = max(1, units)
    self.stride = max(1, stride)
    count = values.count / self.units
  }

  /// Calls `body` with the offset in ``values`` of the first score of each position, in order.
  fileprivate func forEach(_ body: (_ position: Int, _ start: Int) throws -> Void) rethrows {
    for position in 0..<count {
      let outer = position / stride
      try body(position, outer * units * stride + position % stride)
    }
  }

  /// The class with the largest score of each position; ties go to the lower class.
  /// A single score is the probability of the second of two classes.
  public func best() -> [UInt8] {
    var result = [UInt8](repeating: 0, count: count)
    values.withUnsafeBufferPointer { scores in
      forEach { position, start in
        if units == 1 {
          result[position] = scores[start] > 0.5 ? 1 : 0
          return
        }
        var (best, most) = (0, scores[start])
        for unit in 1..<units {
          let score = scores[start + unit * stride]
          if score > most { (best, most) = (unit, score) }
        }
        result[position] = UInt8(truncatingIfNeeded: best)
      }
    }
    return result
  }
}

/// Metrics over positions that have a class; those with ``LabelMap/ignored`` count nothing.
public struct PositionMetrics: Sendable {
  /// The metrics of one class.
  public struct ClassReport: Sendable {
    public var index: Int
    /// The number of positions of the class, and predicted as it.
    public var support: Int
    public var predicted: Int
    public var correct: Int

    /// correct / (support + predicted − correct); nil if the class is neither present nor predicted.
    public var intersectionOverUnion: Double? {
      ClassificationMetrics.ratio(correct, support + predicted - correct)
    }
    /// correct / support; nil if the class is not present.
    public var recall: Double? { ClassificationMetrics.ratio(correct, support) }
  }

  public let classCount: Int
  private let outputKind: ClassificationMetrics.OutputKind
  /// Positions by true class · classes + predicted class.
  private var counts: [Int]
  private var lossSum = 0.0

  /// - Throws: ``GraftError`` of kind `invalidArgument` for fewer than two or too many classes.
  public init(classCount: Int, outputKind: ClassificationMetrics.OutputKind) throws {
    guard (2...LabelMap.classLimit).contains(classCount) else {
      throw GraftError(
        .invalidArgument,
        "\(classCount) classes; a map can have from 2 to \(LabelMap.classLimit)")
    }
    self.classCount = classCount
    self.outputKind = outputKind
    counts = Array(repeating: 0, count: classCount * classCount)
  }

  /// Adds an item.
  /// - Parameter labels: the class of each position.
  /// - Returns: the predicted class of each position.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if the counts differ or a label is out of range.
  @discardableResult
  public mutating func add(_ scores: PositionScores, labels: [UInt8]) throws -> [UInt8] {
    let isBinary = scores.units == 1
    guard labels.count == scores.count, isBinary ? classCount == 2 : scores.units == classCount
    else {
      throw GraftError(
        .invalidArgument,
        "\(labels.count) labels for \(scores.count) positions of \(scores.units) classes")
    }
    let predicted = scores.best()
    for (label, prediction) in zip(labels, predicted) where label != LabelMap.ignored {
      guard label < classCount else {
        throw GraftError(
          .invalidArgument, "the label \(label) is outside the network's \(classCount) classes")
      }
      counts[Int(label) * classCount + Int(prediction)] += 1
    }
    guard outputKind != .scores else { return predicted }
    var sum = 0.0
    scores.values.withUnsafeBufferPointer { values in
      scores.forEach { position, start in
        let label = labels[position]
        guard label != LabelMap.ignored else { return }
        if isBinary {
          let probability = values[start]
          sum += Scores.crossEntropy(probability: label == 1 ? probability : 1 - probability)
          return
        }
        let own = values[start + Int(label) * scores.stride]
        guard outputKind == .logits else {
          sum += Scores.crossEntropy(probability: own)
          return
        }
        var most = values[start]
        for unit in 1..<scores.units { most = max(most, values[start + unit * scores.stride]) }
        var total = 0.0
        for unit in 0..<scores.units {
          total += Double(exp(values[start + unit * scores.stride] - most))
        }
        sum += log(total) + Double(most) - Double(own)
      }
    }
    lossSum += sum
    return predicted
  }

  /// Adds the items of other metrics of the same network.
  public mutating func add(_ other: PositionMetrics) {
    for (index, count) in other.counts.enumerated() where counts.indices.contains(index) {
      counts[index] += count
    }
    lossSum += other.lossSum
  }

  /// The number of positions with a class.
  public var count: Int { counts.reduce(0, +) }

  /// The fraction of positions whose class was predicted; nil before the first.
  public var accuracy: Double? {
    let right = (0..<classCount).reduce(0) { $0 + counts[$1 * classCount + $1] }
    return ClassificationMetrics.ratio(right, count)
  }

  /// The mean of the classes' intersections over unions, over classes that are present or predicted
  /// (Everingham et al. 2015).
  public var meanIntersectionOverUnion: Double? {
    let all = classReports.compactMap(\.intersectionOverUnion)
    return all.isEmpty ? nil : all.reduce(0, +) / Double(all.count)
  }

  /// The mean cross-entropy in nats; nil for scores.
  public var loss: Double? {
    outputKind == .scores || count == 0 ? nil : lossSum / Double(count)
  }

  public var classReports: [ClassReport] {
    (0..<classCount).map { index in
      ClassReport(
        index: index,
        support: (0..<classCount).reduce(0) { $0 + counts[index * classCount + $1] },
        predicted: (0..<classCount).reduce(0) { $0 + counts[$1 * classCount + index] },
        correct: counts[index * classCount + index])
    }
  }

  /// The confusion matrix of positions.
  public func confusion() throws -> ConfusionMatrix {
    var matrix = try ConfusionMatrix(classCount: classCount)
    for label in 0..<classCount {
      for prediction in 0..<classCount {
        matrix.add(
          label: label, prediction: prediction, count: counts[label * classCount + prediction])
      }
    }
    return matrix
  }
}
