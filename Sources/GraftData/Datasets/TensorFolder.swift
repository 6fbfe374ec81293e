// What a network is fed, as NumPy files: x.npy or a file an input, and y.npy.

import GraftDiagnostics

/// A folder with `x.npy` (N × the input's shape; with several inputs `INPUT.npy` each) and, where the
/// answers are known, `y.npy`: N class indices, or N × the output's shape for regression.
public struct TensorFolder: Dataset {
  public let location: String
  public let classes: [String]
  private let inputs: [NPYFile]
  /// The class of each item.
  private let labels: [Int]?
  /// The values of each item.
  private let answers: NPYFile?

  public let count: Int
  public var holdsImages: Bool { false }

  /// - Parameters:
  ///   - inputs: The network's inputs.
  ///   - output: The network's output, where answers are wanted.
  ///   - labels: The names of its classes.
  /// - Throws: ``GraftError``: `inputOutput` where a file is missing or unreadable, `invalidData` where
  ///   shapes or counts do not fit; the file is named.
  public init(
    _ path: String, inputs: [TensorSpecification], output: TensorSpecification? = nil,
    labels: [String]? = nil
  ) throws {
    location = path
    classes = labels ?? []
    self.inputs = try inputs.map { input in
      let own = path + "/" + TensorFileName.npy(input.name)
      let isAlone = inputs.count == 1 && !FolderListing.hasFile(own)
      let file = try NPYFile(isAlone ? path + "/x.npy" : own)
      guard !file.shape.isEmpty, file.rowShape == input.shape else {
        throw GraftError(
          .invalidData,
          "shape \(file.shape) does not fit the input \(input.name.quotedForDisplay), "
            + "which takes N × \(input.shape)",
          at: SourceLocation(file: file.path))
      }
      return file
    }
    guard let first = self.inputs.first else {
      throw GraftError(.invalidArgument, "the network has no inputs")
    }
    if let other = self.inputs.first(where: { $0.rowCount != first.rowCount }) {
      throw GraftError(
        .invalidData,
        "\(other.rowCount) items, but \(first.rowCount) in \(first.path.escapedForDisplay)",
        at: SourceLocation(file: other.path))
    }
    guard first.rowCount > 0 else {
      throw GraftError(.invalidData, "there are no items in it", at: .init(file: first.path))
    }
    count = first.rowCount
    let answerPath = path + "/y.npy"
    guard FolderListing.hasFile(answerPath) else {
      self.labels = nil
      answers = nil
      return
    }
    let file = try NPYFile(answerPath)
    guard !file.shape.isEmpty, file.rowCount == count else {
      throw GraftError(
        .invalidData, "shape \(file.shape) does not fit \(count) items",
        at: SourceLocation(file: file.path))
    }
    if file.element.isInteger, file.rowShape.isEmpty {
      self.labels = try file.integers(rows: 0..<count)
      answers = nil
    } else if let output, file.rowShape != output.shape {
      throw GraftError(
        .invalidData,
        "shape \(file.shape) of \(file.element.rawValue) is neither N class indices nor N × the "
          + "output's shape \(output.shape)",
        at: SourceLocation(file: file.path),
        advice: "Class indices are integers: y.astype('int64').")
    } else {
      self.labels = nil
      answers = file
    }
  }

  public func name(of index: Int) -> String { "\(index)" }

  public func label(of index: Int) -> Int? {
    guard let labels, labels.indices ~= index else { return nil }
    return labels[index]
  }

  public func sample(at index: Int) throws -> Sample {
    try check(index)
    let values = try inputs.map { try $0.floats(rows: index..<index + 1) }
    let target: Target
    if let label = label(of: index) {
      guard label >= 0, classes.isEmpty || label < classes.count else {
        throw GraftError(
          .invalidData, "item \(index) has the class \(label), which does not exist",
          at: SourceLocation(file: location + "/y.npy"))
      }
      target = .label(label)
    } else if let answers {
      target = .values(try answers.floats(rows: index..<index + 1))
    } else {
      target = .unknown
    }
    return Sample(content: .tensors(values), target: target)
  }
}
