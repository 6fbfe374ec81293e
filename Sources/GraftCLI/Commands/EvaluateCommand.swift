// graft evaluate: how often a bundle is right on labeled data.

import ArgumentParser
import Graft
import GraftDiagnostics

struct EvaluateCommand: ParsableCommand, UsesPaths {
  static let configuration = CommandConfiguration(
    commandName: "evaluate", abstract: "Measure accuracy on labeled data.",
    discussion: """
      DIR has a folder of pictures for each class, or CIFAR-10's binary batches, or x.npy and y.npy. \
      Where the bundle has labels, folders match them by name. Running a bundle runs its author's code.
      """)

  @Argument(help: "The bundle.", completion: .directory)
  var bundle: String

  @Option(help: "The data.", completion: .directory)
  var data: String

  @Option(help: "Images that go through at once.")
  var batchSize = 64

  @Option(help: "Write the confusion matrix as a .svg, .png or .csv file.", completion: .file())
  var confusion: String?

  @Option(help: "Write a line for each image as a .csv file.", completion: .file())
  var predictions: String?

  @Flag(help: "Print one JSON object.")
  var json = false

  @Option(help: "Of several outputs the one with the classes, by its name.")
  var output: String?

  @OptionGroup var threads: ThreadsOption

  func validate() throws {
    guard (1...65_536).contains(batchSize) else {
      throw ValidationError("--batch-size must be between 1 and 65536")
    }
  }

  func pathUses() throws -> PathUses {
    var uses = PathUses()
    uses.read("BUNDLE", bundle)
    uses.read("--data", data, .data)
    if confusion?.lowercased().hasSuffix(".png") == true {
      uses.write("--confusion", confusion, .file)
    } else {
      try uses.writeText("--confusion", confusion)
    }
    try uses.writeText("--predictions", predictions)
    return uses
  }

  func run() throws {
    var evaluator = try Evaluator(
      ModelBundle(opening: bundle), output: output, threads: threads.count, batchSize: batchSize)
    let report = try evaluator.evaluate(data) { done, all in
      ProgressLine.show("\(done) of \(all) images")
    }
    ProgressLine.clear()
    Console.warn(evaluator.warnings)
    if let confusion { try evaluator.writeConfusion(to: confusion) }
    if let predictions { try evaluator.writePredictions(to: predictions) }
    if json { return try Console.json(report) }
    try Console.result(table(report))
  }

  private func table(_ report: Evaluator.Report) -> String {
    let width = report.classes.map(\.label.escapedForDisplay.count).max() ?? 0
    func share(_ value: Double?) -> String {
      let text = value.map { (100 * $0).formatted(digits: 1) } ?? "–"
      return String(repeating: " ", count: max(0, 10 - text.count)) + text
    }
    var lines = [
      "class".padding(toLength: max(width, 5), withPad: " ", startingAt: 0)
        + "    images  precision %   recall %"
    ]
    for row in report.classes {
      let label = row.label.escapedForDisplay
      let count = String(row.images)
      lines.append(
        label + String(repeating: " ", count: max(0, max(width, 5) - label.count))
          + String(repeating: " ", count: max(0, 10 - count.count)) + count
          + "   " + share(row.precision) + " " + share(row.recall))
    }
    if let accuracy = report.accuracy, let exact = report.exactMatch {
      lines.append(
        "of all decisions, one a class and image, \((100 * accuracy).formatted(digits: 2)) % are right; of "
          + "\((100 * exact).formatted(digits: 2)) % of the images all are")
    }
    lines.append(
      "\(report.images) images: top-1 \((100 * report.top1).formatted(digits: 2)) %"
        // Among five classes or fewer the right one always is.
        + (report.classes.count > 5
          ? ", top-5 \((100 * report.top5).formatted(digits: 2)) %" : "") + ", loss "
        + (report.loss.map { $0.formatted(digits: 4) } ?? "–")
        + ", \(report.imagesPerSecond.formatted(digits: 0)) images/s")
    return lines.joined(separator: "\n")
  }
}
