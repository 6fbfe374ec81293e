// Determines the kind of data set in a folder.

import Glibc
import GraftDiagnostics

/// The requirements on a data set.
public struct DatasetRequest: Sendable {
  /// The network's inputs, with shapes without the batch axis.
  public var inputs: [TensorSpecification]
  /// The required kind of targets.
  public var answers: TargetKind
  /// The network's class names, if it has them.
  public var labels: [String]?
  /// The number of the network's classes, if it is fixed.
  public var classCount: Int?
  /// Which of CIFAR-10's batches to read; if there are none of these, all are read.
  public var part: CIFAR10Batches.Part

  public init(
    inputs: [TensorSpecification], answers: TargetKind = .classes, labels: [String]? = nil,
    classCount: Int? = nil, part: CIFAR10Batches.Part = .all
  ) {
    self.inputs = inputs
    self.answers = answers
    self.labels = labels
    self.classCount = classCount
    self.part = part
  }
}

/// Opens a data folder: tensors if it contains a `.npy` file; else images with masks if maps of classes are needed,
/// images with images if these are needed, CIFAR-10 if it contains its batches, else class folders.
/// - Returns: The data set, never empty, and warnings.
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
  switch request.answers {
  case .maps:
    let folder = try SegmentationFolder(
      path, labels: request.labels, classCount: request.classCount)
    return (folder, folder.warnings)
  case .pictures:
    let folder = try PictureFolder(path)
    return (folder, folder.warnings)
  case .values:
    throw GraftError(
      .invalidData, "there are no x.npy and y.npy, but the targets are values",
      at: SourceLocation(file: path),
      advice: "If the network's output is an image, describe it by output in the preprocessing "
        + "(graft compile BUNDLE -o NEW.graft --preprocess FILE.json); then inputs/NAME.jpg with "
        + "targets/NAME.png are read.")
  case .none, .classes, .labels: break
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
  /// Whether the path exists.
  static func hasFile(_ path: String) -> Bool { access(path, F_OK) == 0 }
}
