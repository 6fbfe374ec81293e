// Distillation: a teacher's logits on images, and the soft targets of the student.

import Foundation
import Graft
import GraftData
import GraftDiagnostics

/// A compiled network whose class probabilities are additional targets (Hinton, Vinyals and Dean 2015).
struct TeacherNetwork {
  private let path: String
  private let network: ImageNetwork
  private let columns: [Int]

  private var location: SourceLocation { SourceLocation(file: path) }

  /// - Parameters:
  ///   - path: that of the teacher's bundle.
  ///   - output: the output of class scores; nil takes the one that looks most like it.
  /// - Throws: ``GraftError`` if the teacher's classes are not those of `dataset`.
  init(at path: String, output: String?, of dataset: any Dataset, classCount: Int) throws {
    self.path = path
    network = try ImageNetwork(ModelBundle(opening: path), output: output).taking(
      dataAt: dataset.location)
    guard network.picture == nil else {
      throw GraftError(
        .unsupported, "the teacher's output is an image, not scores of classes",
        at: SourceLocation(file: path))
    }
    columns = try Self.columns(of: network, path, dataset, classCount)
    try network.checkCanRead(dataset)
  }

  var bundle: ModelBundle { network.bundle }

  /// Loads its library, for batches of at most `batchSize` items.
  func loaded(batchSize: Int, threads: Int) throws -> LoadedTeacher {
    let size = network.batchSize(batchSize)
    return LoadedTeacher(
      path: path, network: network, columns: columns, batchSize: size,
      session: try Session(
        network.bundle, threads: threads, largestBatch: size, program: network.program))
  }

  /// The teacher's column for each of the student's classes.
  private static func columns(
    of network: ImageNetwork, _ path: String, _ dataset: any Dataset, _ classCount: Int
  ) throws -> [Int] {
    let location = SourceLocation(file: path)
    guard network.classCount == classCount else {
      throw GraftError(
        .invalidArgument,
        "the teacher has \(network.classCount) classes, the student \(classCount)",
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

  /// Checks that the teacher can take the student's inputs.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if its inputs or its preprocessing differ.
  func checkSees(theInputsOf student: ImageNetwork) throws {
    guard network.inputs.map(\.shape) == student.inputs.map(\.shape),
      network.bundle.manifest.preprocessing == student.bundle.manifest.preprocessing,
      network.hasFreeBatch
    else {
      throw GraftError(
        .invalidArgument,
        "the teacher's input or preprocessing differs from the student's, so they cannot share random views",
        at: location,
        advice: "Train without --augment, --mixup and --cutmix, or choose a teacher with the "
          + "student's input and preprocessing.")
    }
  }

}

/// A teacher whose library is loaded.
struct LoadedTeacher {
  fileprivate let path: String
  fileprivate let network: ImageNetwork
  fileprivate let columns: [Int]
  fileprivate let batchSize: Int
  fileprivate let session: Session

  var classCount: Int { columns.count }

  private var location: SourceLocation { SourceLocation(file: path) }

  /// The teacher's logits [N, C] for a batch of inputs, in the order of the student's classes.
  func logits(of batch: Batch) throws -> [Float] {
    let rows = try session.run(try network.tensors(batch))[network.output.name]?.elements ?? []
    // Log probabilities can serve as logits.
    let isSoftmax = network.activation == .softmax || network.isBinary
    var logits: [Float] = []
    logits.reserveCapacity(batch.count * columns.count)
    for item in 0..<batch.count {
      let row = rows[item * network.outputWidth..<(item + 1) * network.outputWidth]
      let own = network.isBinary ? network.scores(row)[...] : row
      for column in columns {
        let value = own[own.startIndex + column]
        logits.append(isSoftmax ? log(value) : value)
      }
    }
    return logits
  }

  /// The logits of a whole data set, computed once.
  /// - Parameters:
  ///   - names: the student's items in order, without unreadable ones.
  ///   - largest: the size in bytes above which they are stored in a file.
  /// - Throws: ``GraftError`` if the teacher cannot read an item.
  func logits(
    of dataset: any Dataset, names: [String], threads: Int, inMemory largest: Int,
    progress: (Int, Int) -> Void
  ) throws -> FeatureStore {
    let store = try FeatureStore(
      items: names.count, forms: [RowForm(width: columns.count)], inMemory: largest)
    let loader = try network.loader(dataset, batchSize: batchSize, threads: threads)
    var position = 0
    while let batch = try loader.next() {
      let rows = try logits(of: batch)
      for (item, index) in batch.indices.enumerated() {
        // Skip items that the student could not read.
        guard position < names.count, dataset.name(of: index) == names[position] else { continue }
        try store.write(
          rows[(item * columns.count)..<((item + 1) * columns.count)], to: position, kind: 0)
        position += 1
      }
      progress(position, names.count)
    }
    guard position == names.count else {
      throw GraftError(
        .invalidData, "the teacher could not read \(names[position].quotedForDisplay)",
        at: location)
    }
    return store
  }
}

extension FineTuner.Teacher {
  /// The targets alpha · T² · softmax(logits / T) / N from logits [N, C]. Their cross-entropy with the
  /// student's logits / T has the gradient of alpha · T² · the KL divergence, whose scale does not depend on
  /// T.
  func targets(_ logits: [Float], count: Int) -> [Float] {
    let width = logits.count / max(1, count)
    let scale = alpha * temperature * temperature / Double(count)
    var targets: [Float] = []
    targets.reserveCapacity(logits.count)
    for item in 0..<count {
      let row = logits[item * width..<(item + 1) * width].map { Double($0) / temperature }
      let largest = row.max() ?? 0
      let powers = row.map { exp($0 - largest) }
      let sum = powers.reduce(0, +)
      targets += powers.map { Float(scale * $0 / sum) }
    }
    return targets
  }
}
