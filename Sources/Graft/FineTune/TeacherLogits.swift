// What a teacher says of every item, asked once and kept: the soft targets of distillation.

import Foundation
import GraftData
import GraftDiagnostics

/// A teacher's logits for a data set (Hinton, Vinyals and Dean 2015).
struct TeacherLogits {
  private let teacher: FineTuner.Teacher
  private let logits: FeatureStore
  private let classCount: Int

  /// Runs the teacher over `dataset`.
  /// - Parameter names: the items that the student learns from, in their order; broken ones are not there.
  /// - Throws: ``GraftError`` where the teacher tells other classes apart, or could not read an item.
  init(
    _ teacher: FineTuner.Teacher, of dataset: any Dataset, names: [String], classCount: Int,
    batchSize: Int, threads: Int, progress: (Int, Int) -> Void
  ) throws {
    self.teacher = teacher
    self.classCount = classCount
    let network = try PictureNetwork(ModelBundle(opening: teacher.bundle))
    let columns = try Self.columns(of: network, teacher.bundle, dataset, classCount)
    let session = try Session(
      network.bundle, threads: threads, largestBatch: network.batchSize(batchSize))
    logits = try FeatureStore(items: names.count, widths: [classCount])
    let loader = try network.loader(dataset, batchSize: batchSize, threads: threads)
    var position = 0
    while let batch = try loader.next() {
      let outputs = try session.run(try network.tensors(batch))
      let rows = outputs[network.output.name]?.elements ?? []
      for (item, index) in batch.indices.enumerated() {
        // What the student could not read the teacher need not.
        guard position < names.count, dataset.name(of: index) == names[position] else { continue }
        let row = logits.row(position, kind: 0)
        for (own, column) in columns.enumerated() {
          let value = rows[item * network.classCount + column]
          // The logarithms of probabilities are logits.
          row[own] = network.bundle.manifest.outputActivation == .softmax ? log(value) : value
        }
        position += 1
      }
      progress(position, names.count)
    }
    guard position == names.count else {
      throw GraftError(
        .invalidData, "the teacher could not read \(names[position].quotedForDisplay)",
        at: SourceLocation(file: teacher.bundle))
    }
  }

  /// The teacher's column for each of the student's classes.
  private static func columns(
    of network: PictureNetwork, _ path: String, _ dataset: any Dataset, _ classCount: Int
  ) throws -> [Int] {
    let location = SourceLocation(file: path)
    guard network.classCount == classCount else {
      throw GraftError(
        .invalidArgument,
        "the teacher tells \(network.classCount) classes apart, the student \(classCount)",
        at: location)
    }
    guard let labels = network.bundle.manifest.labels, !dataset.classes.isEmpty else {
      return Array(0..<classCount)
    }
    return try dataset.classes.map { name in
      guard let column = labels.firstIndex(of: name) else {
        throw GraftError(
          .invalidArgument, "the teacher has no class \(name.quotedForDisplay)", at: location,
          advice: "Its labels are: \(labels.prefix(20).joined(separator: ", ")).")
      }
      return column
    }
  }

  /// Rows [N, C]: alpha · T² · softmax(logits / T) / N. Their cross-entropy with the student's logits over T
  /// has the gradient of alpha · T² times the divergence of the two, which keeps its size at any T.
  func targets(_ items: [Int]) -> [Float] {
    let temperature = teacher.temperature
    let scale = teacher.alpha * temperature * temperature / Double(items.count)
    var targets: [Float] = []
    targets.reserveCapacity(items.count * classCount)
    for item in items {
      let row = logits.row(item, kind: 0).map { Double($0) / temperature }
      let largest = row.max() ?? 0
      let powers = row.map { exp($0 - largest) }
      let sum = powers.reduce(0, +)
      targets += powers.map { Float(scale * $0 / sum) }
    }
    return targets
  }
}
