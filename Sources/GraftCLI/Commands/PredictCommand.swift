// graft predict: classifies images.

import ArgumentParser
import Foundation
import Graft
import GraftDiagnostics

struct PredictCommand: ParsableCommand, UsesPaths {
  static let configuration = CommandConfiguration(
    commandName: "predict", abstract: "Classify images.",
    discussion: """
      If an image cannot be read, its line says why, the others are still classified, and the exit status is 1. \
      Running a bundle executes its author's code.
      """)

  @Argument(help: "The bundle.", completion: .directory)
  var bundle: String

  @Argument(help: "JPEG or PNG files.", completion: .file())
  var images: [String]

  @Option(help: "The number of classes to list per image, at least 1.")
  var topK = 5

  @Flag(help: "Print one JSON object.")
  var json = false

  @Option(
    help: "Also write a table to this .csv file: file, rank, class, probability, error.",
    completion: .file())
  var csv: String?

  @Option(
    help:
      "The name of the output with the class scores. (default: the output that looks most like class scores)"
  )
  var output: String?

  @OptionGroup var threads: ThreadsOption

  func validate() throws {
    guard topK >= 1 else { throw ValidationError("--top-k must be at least 1") }
  }

  func pathUses() throws -> PathUses {
    var uses = PathUses()
    uses.read("BUNDLE", bundle)
    for image in images { uses.read("IMAGE", image) }
    try uses.writeText("--csv", csv)
    return uses
  }

  func run() throws {
    let classifier = try Classifier(
      ModelBundle(opening: bundle), output: output, threads: threads.count)
    Console.warn(classifier.warnings)
    let table = try csv.map { try AnswerTable(at: $0, of: classifier) }
    let list = json ? try Console.JSONList(named: "predictions") : nil
    var failures: [Classifier.Answer] = []
    try classifier.classify(images, top: topK) { answer in
      try table?.append(answer)
      if answer.error != nil { failures.append(answer) }
      if let list { try list.append(answer) } else { try show(answer) }
    }
    try list?.finish()
    try table?.finish()
    guard let first = failures.first, let reason = first.error else { return }
    throw GraftError(
      .invalidData, reason, at: SourceLocation(file: first.file),
      context: images.count == 1
        ? [] : ["\(failures.count) of \(images.count) images could not be classified; the first"])
  }

  private func show(_ answer: Classifier.Answer) throws {
    try Console.result(answer.file.escapedForDisplay)
    if let error = answer.error { try Console.result("          " + error) }
    for candidate in answer.classes {
      let number =
        candidate.probability.map { (100 * $0).formatted(digits: 2) + " %" }
        ?? (candidate.score ?? 0).formatted(digits: 4)
      let blank = String(repeating: " ", count: max(0, 10 - number.count))
      try Console.result("\(blank)\(number)  \(candidate.label.escapedForDisplay)")
    }
  }
}
