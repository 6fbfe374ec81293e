// Prediction: pictures in, the classes that fit best out.

import GraftData
import GraftDiagnostics

/// Tells what is on pictures.
///
/// ```swift
/// let classifier = try Classifier(ModelBundle(opening: "resnet20.graft"))
/// let best = try classifier.classify(["cat.jpg"], top: 3)[0].classes
/// ```
public struct Classifier {
  /// One class that a picture may belong to.
  public struct Candidate: Encodable, Sendable {
    /// Its place in the network's output.
    public var index: Int
    /// Its label, or the index where the bundle has no labels.
    public var label: String
    /// 0 to 1; absent where the network gives no probabilities.
    public var probability: Double?
    /// The network's own number, where it gives no probabilities.
    public var score: Double?
  }

  /// The answer for one picture.
  public struct Answer: Encodable, Sendable {
    public var file: String
    /// The most probable first; none where the picture could not be read.
    public var classes: [Candidate]
    /// Why there is no answer.
    public var error: String?
  }

  private let network: PictureNetwork
  private let session: Session

  /// Whether answers have probabilities, and not scores.
  public var givesProbabilities: Bool { network.givesProbabilities }

  /// What the user should be told of the network's output.
  public var warnings: [Warning] { network.warnings + [network.scoreWarning].compactMap(\.self) }

  /// - Parameter output: the output with the classes; nil takes the one that looks most like it.
  /// - Throws: ``GraftError`` where the bundle is damaged or is no classifier of pictures.
  public init(
    _ bundle: ModelBundle, output: String? = nil, threads: Int = AvailableCores.count
  ) throws {
    network = try PictureNetwork(bundle, output: output)
    session = try Session(bundle, threads: threads)
  }

  /// The `top` most probable classes of each picture, in the order of `paths`.
  /// - Throws: ``GraftError`` naming the first picture that cannot be read, or for which the network's answer
  ///   is no number.
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

  /// Hands out the answer for each picture as soon as it is there, in the order of `paths`: also where a
  /// picture cannot be read, or the network's answer is no number.
  ///
  /// Pictures go through one at a time, so that an answer does not depend on its neighbors.
  /// - Throws: ``GraftError`` where the network cannot run, and what `body` throws.
  public func classify(
    _ paths: [String], top: Int = 5, _ body: (Answer) throws -> Void
  ) throws {
    let loader = try network.loader(ImageList(paths), batchSize: 1, threads: session.threads)
    while let (index, item) = try loader.nextItem() {
      var answer = Answer(file: paths[index], classes: [])
      switch item {
      case .success(let batch):
        let outputs = try session.run(try network.tensors(batch))
        let row = outputs[network.output.name]?.elements ?? []
        do {
          try network.check(row[...])
          answer.classes = classes(of: row[...], top: top)
        } catch let error as GraftError { answer.error = error.message }
      case .failure(let error): answer.error = error.message
      }
      try body(answer)
    }
  }

  private func classes(of row: ArraySlice<Float>, top: Int) -> [Candidate] {
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

/// Answers as CSV: file, rank, class, probability (or score, where the network gives no probabilities), error. The
/// file appears by ``finish()``.
public final class AnswerTable {
  private let table: TextFile

  /// - Throws: ``GraftError`` where the file cannot be written.
  public init(at path: String, of classifier: Classifier) throws {
    table = try TextFile(at: path)
    let number = classifier.givesProbabilities ? "probability" : "score"
    try table.append(CSV.line(["file", "rank", "class", number, "error"]))
  }

  /// Appends a line for each class, or one that says why there are none.
  public func append(_ answer: Classifier.Answer) throws {
    if let error = answer.error {
      return try table.append(CSV.line([answer.file, "", "", "", error]))
    }
    for (rank, candidate) in answer.classes.enumerated() {
      let number = candidate.probability ?? candidate.score ?? .nan
      try table.append(
        CSV.line([answer.file, "\(rank + 1)", candidate.label, "\(number)", ""]))
    }
  }

  /// Puts the file in its place.
  public func finish() throws { try table.finish() }
}
