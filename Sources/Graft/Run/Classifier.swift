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
    /// 0 to 1.
    public var probability: Double
  }

  /// The answer for one picture.
  public struct Answer: Encodable, Sendable {
    public var file: String
    /// The most probable first.
    public var classes: [Candidate]
  }

  private let network: PictureNetwork
  private let session: Session

  /// - Throws: ``GraftError`` where the bundle is damaged or is no classifier of pictures.
  public init(_ bundle: ModelBundle, threads: Int = AvailableCores.count) throws {
    network = try PictureNetwork(bundle)
    session = try Session(bundle, threads: threads)
  }

  /// The `top` most probable classes of each picture, in the order of `paths`.
  ///
  /// Pictures go through one at a time, so that an answer does not depend on its neighbours.
  /// - Throws: ``GraftError`` naming the first picture that cannot be read.
  public func classify(_ paths: [String], top: Int = 5) throws -> [Answer] {
    let loader = try network.loader(ImageList(paths), batchSize: 1, threads: session.threads)
    var answers: [Answer] = []
    while let batch = try loader.next(rejectingBroken: true) {
      let outputs = try session.run(try network.tensors(batch))
      let row = outputs[network.output.name]?.elements ?? []
      let probabilities = network.probabilities(row[...])
      let best = Scores.best(top, of: row).map { index in
        Candidate(
          index: index, label: network.label(index), probability: Double(probabilities[index]))
      }
      answers.append(Answer(file: paths[batch.indices[0]], classes: best))
    }
    return answers
  }
}

extension BatchLoader {
  /// The next batch, or the error of the first item that could not be read.
  func next(rejectingBroken: Bool) throws -> Batch? {
    let batch: Batch?
    do { batch = try next() } catch {
      if let broken = brokenItems.first { throw broken.error }
      throw error
    }
    if rejectingBroken, let broken = brokenItems.first { throw broken.error }
    return batch
  }
}

extension Classifier {
  /// Writes answers as CSV: file, rank, class, probability.
  /// - Throws: ``GraftError`` where the file cannot be written.
  public static func writeTable(_ answers: [Answer], to path: String) throws {
    var text = CSV.line(["file", "rank", "class", "probability"])
    for answer in answers {
      for (rank, candidate) in answer.classes.enumerated() {
        text += CSV.line([answer.file, "\(rank + 1)", candidate.label, "\(candidate.probability)"])
      }
    }
    try FileReplacement(at: path).write(Array(text.utf8))
  }
}
