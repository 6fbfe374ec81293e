// graft evaluate: measures a bundle's accuracy on labeled data.

import ArgumentParser
import Graft
import GraftDiagnostics

struct EvaluateCommand: ParsableCommand, UsesPaths {
  static let configuration = CommandConfiguration(
    commandName: "evaluate", abstract: "Measure accuracy and loss on labeled data.",
    discussion: """
      The data is a directory with one folder of images per class, CIFAR-10's binary batches, or x.npy and \
      y.npy. Folders are matched with the bundle's labels by name. Running a bundle executes its author's code.
      """)

  @Argument(help: "The bundle.", completion: .directory)
  var bundle: String

  @Option(help: "The directory of the labeled data.", completion: .directory)
  var data: String

  @Option(help: "The number of images per call, from 1 to 65536.")
  var batchSize = 64

  @Option(help: "Write the confusion matrix to this .svg, .png or .csv file.", completion: .file())
  var confusion: String?

  @Option(help: "Write one line per image to this .csv file.", completion: .file())
  var predictions: String?

  @Flag(help: "Print one JSON object.")
  var json = false

  @Option(
    help:
      "The name of the output with the class scores. (default: the output that looks most like class scores)"
  )
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
        "\((100 * accuracy).formatted(digits: 2)) % of the (image, class) decisions are correct; all are in "
          + "\((100 * exact).formatted(digits: 2)) % of the images")
    }
    lines.append(
      "\(report.images) images: top-1 \((100 * report.top1).formatted(digits: 2)) %"
        // With five classes or fewer, top-5 is always 100 %.
        + (report.classes.count > 5
          ? ", top-5 \((100 * report.top5).formatted(digits: 2)) %" : "") + ", loss "
        + (report.loss.map { $0.formatted(digits: 4) } ?? "–")
        + ", \(report.imagesPerSecond.formatted(digits: 0)) images/s")
    return lines.joined(separator: "\n")
  }
}
