// graft predict: what is on pictures.

import ArgumentParser
import Foundation
import Graft
import GraftDiagnostics

struct PredictCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "predict", abstract: "Tell what is on pictures.",
    discussion: "Running a bundle runs its author's code.")

  @Argument(help: "The bundle.", completion: .directory)
  var bundle: String

  @Argument(help: "JPEG or PNG files.", completion: .file())
  var images: [String]

  @Option(help: "How many classes to list for each picture.")
  var topK = 5

  @Flag(help: "Print one JSON object.")
  var json = false

  @Option(help: "Also write a table: file, rank, class, probability.", completion: .file())
  var csv: String?

  @OptionGroup var threads: ThreadsOption

  private struct Document: Encodable { var predictions: [Classifier.Answer] }

  func validate() throws {
    guard topK >= 1 else { throw ValidationError("--top-k must be at least 1") }
  }

  func run() throws {
    let classifier = try Classifier(ModelBundle(opening: bundle), threads: threads.count)
    let answers = try classifier.classify(images, top: topK)
    if let csv { try Classifier.writeTable(answers, to: csv) }
    if json { return try Console.json(Document(predictions: answers)) }
    for answer in answers {
      try Console.result(answer.file.escapedForDisplay)
      for candidate in answer.classes {
        let percent = (100 * candidate.probability).formatted(digits: 2)
        let blank = String(repeating: " ", count: max(0, 8 - percent.count))
        try Console.result("\(blank)\(percent) %  \(candidate.label.escapedForDisplay)")
      }
    }
  }
}
