// Prediction: the most probable classes of images.

import GraftData
import GraftDiagnostics

/// Classifies images.
///
/// ```swift
/// let classifier = try Classifier(ModelBundle(opening: "resnet20.graft"))
/// let best = try classifier.classify(["cat.jpg"], top: 3)[0].classes
/// ```
public struct Classifier {
  /// A class and its probability or score.
  public struct Candidate: Encodable, Sendable {
    /// Its index in the network's output.
    public var index: Int
    /// Its label, or the index if the bundle has no labels.
    public var label: String
    /// 0 to 1; nil if the network's outputs are not probabilities.
    public var probability: Double?
    /// The network's output, if it is not a probability.
    public var score: Double?
  }

  /// The classification of one image.
  public struct Answer: Encodable, Sendable {
    public var file: String
    /// In descending order of probability; empty if the image could not be read.
    public var classes: [Candidate]
    /// Why the image could not be classified.
    public var error: String?
  }

  private let network: ImageNetwork
  private let session: Session

  /// Whether answers have probabilities rather than scores.
  public var givesProbabilities: Bool { network.givesProbabilities }

  /// Warnings about the network's output.
  public var warnings: [Warning] { network.warnings + [network.scoreWarning].compactMap(\.self) }

  /// - Parameter output: the class output; nil takes the one that looks most like class scores.
  /// - Throws: ``GraftError`` if the bundle is damaged or is not an image classifier.
  public init(
    _ bundle: ModelBundle, output: String? = nil, threads: Int = AvailableCores.count
  ) throws {
    network = try ImageNetwork(bundle, output: output)
    try network.requireClasses()
    session = try Session(bundle, threads: threads, program: network.program)
  }

  /// The `top` most probable classes of each image, in the order of `paths`.
  /// - Throws: ``GraftError`` that names the first image that cannot be read or has non-finite outputs.
  public func classify(_ paths: [String], top: Int = 5) throws -> [Answer] {
    var answers: [Answer] = []
    try classify(paths, top: top) { answer in
      if let error = answer.error {
        throw GraftError(.invalidData, error, at: SourceLocation(file: answer.file))
      }
      answers.append(answer)
    }
    return answers
  }

  /// Calls `body` with the answer for each image as soon as it is available, in the order of `paths`, also
  /// for images that cannot be read or have non-finite outputs.
  ///
  /// Images are processed one at a time, so that an answer does not depend on other images.
  /// - Throws: ``GraftError`` if the network cannot run, and errors of `body`.
  public func classify(
    _ paths: [String], top: Int = 5, _ body: (Answer) throws -> Void
  ) throws {
    try network.run(on: paths, with: session) { network, path, result in
      switch result {
      case .success(let row):
        try body(Answer(file: path, classes: classes(of: row[...], by: network, top: top)))
      case .failure(let error): try body(Answer(file: path, classes: [], error: error.message))
      }
    }
  }

  private func classes(
    of row: ArraySlice<Float>, by network: ImageNetwork, top: Int
  ) -> [Candidate] {
    let scores = network.scores(row)
    let isProbability = network.givesProbabilities
    return network.best(top, of: row).map { index in
      let value = Double(scores[index])
      return Candidate(
        index: index, label: network.label(index), probability: isProbability ? value : nil,
        score: isProbability ? nil : value)
    }
  }
}

/// Answers as CSV: file, rank, class, probability (or score, if the network's outputs are not probabilities; or
/// the share of the pixels, for a segmentation), error. The file is renamed to its final name by ``finish()``.
public final class AnswerTable {
  private let table: TextFile

  /// - Throws: ``GraftError`` if the file cannot be written.
  public convenience init(at path: String, of classifier: Classifier) throws {
    try self.init(at: path, number: classifier.givesProbabilities ? "probability" : "score")
  }

  /// - Throws: ``GraftError`` if the file cannot be written.
  public convenience init(at path: String, of segmenter: Segmenter) throws {
    try self.init(at: path, number: "share")
  }

  private init(at path: String, number: String) throws {
    table = try TextFile(at: path)
    try table.append(CSV.line(["file", "rank", "class", number, "error"]))
  }

  /// Appends one line per class, or one line with the error.
  public func append(_ answer: Classifier.Answer) throws {
    try append(
      answer.file, answer.classes.map { ($0.label, $0.probability ?? $0.score ?? .nan) },
      answer.error)
  }

  /// Appends one line per class, or one line with the error.
  public func append(_ answer: Segmenter.Answer) throws {
    try append(answer.file, answer.classes.map { ($0.label, $0.share) }, answer.error)
  }

  private func append(
    _ file: String, _ classes: [(label: String, number: Double)], _ error: String?
  ) throws {
    if let error { return try table.append(CSV.line([file, "", "", "", error])) }
    for (rank, entry) in classes.enumerated() {
      try table.append(CSV.line([file, "\(rank + 1)", entry.label, "\(entry.number)", ""]))
    }
  }

  /// Renames the file to its final name.
  public func finish() throws { try table.finish() }
}
