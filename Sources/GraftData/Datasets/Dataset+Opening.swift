// Tells what kind of data set a folder is.

import Glibc
import GraftDiagnostics

/// What a data set is opened for.
public struct DatasetRequest: Sendable {
  /// The network's inputs, shapes without the batch.
  public var inputs: [TensorSpecification]
  /// What the answers of tensors are needed as.
  public var answers: AnswerKind
  /// The names of the network's classes, where it has them.
  public var labels: [String]?
  /// The number of the network's classes, where it is fixed.
  public var classCount: Int?
  /// Which of CIFAR-10's batches are wanted; if there are none of these, all are taken.
  public var part: CIFAR10Batches.Part

  public init(
    inputs: [TensorSpecification], answers: AnswerKind = .classes, labels: [String]? = nil,
    classCount: Int? = nil, part: CIFAR10Batches.Part = .all
  ) {
    self.inputs = inputs
    self.answers = answers
    self.labels = labels
    self.classCount = classCount
    self.part = part
  }
}

/// Opens a data folder: tensors where it holds a `.npy` file, CIFAR-10 where it holds its batches,
/// else class folders.
/// - Returns: The data set, never empty, and what the user should be told about it.
/// - Throws: ``GraftError`` that names the folder or the file.
public func openDataset(
  at path: String, for request: DatasetRequest
) throws -> (dataset: any Dataset, warnings: [Warning]) {
  let names = try FolderListing(of: path).entries.filter { $0.kind == .file }.map(\.name)
  if names.contains(where: { $0.hasSuffix(".npy") }) {
    let tensors = try TensorFolder(
      path, inputs: request.inputs, answers: request.answers, labels: request.labels,
      classCount: request.classCount)
    return (tensors, [])
  }
  let hasTraining = names.contains(where: CIFAR10Batches.isTraining)
  let hasTest = names.contains(CIFAR10Batches.testName)
  if hasTraining || hasTest {
    let part: CIFAR10Batches.Part = hasTraining && hasTest ? request.part : .all
    let batches = try CIFAR10Batches(
      path, part: part, labels: request.labels, classCount: request.classCount)
    return (batches, batches.warnings)
  }
  let folder = try ImageFolder(path, labels: request.labels, classCount: request.classCount)
  return (folder, folder.warnings)
}

extension FolderListing {
  /// Whether something that could be opened as a file stands there.
  static func hasFile(_ path: String) -> Bool { access(path, F_OK) == 0 }
}
