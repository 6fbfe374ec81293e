// graft evaluate: measures a bundle's accuracy on labeled data.

import ArgumentParser
import Graft
import GraftDiagnostics

struct EvaluateCommand: ParsableCommand, UsesPaths {
  static let configuration = CommandConfiguration(
    commandName: "evaluate", abstract: "Measure accuracy and loss on labeled data.",
    discussion: """
      The data is a directory with one folder of images per class, CIFAR-10's binary batches, or x.npy and \
      y.npy. Folders are matched with the bundle's labels by name. For a network with a class for every pixel \
      it has images/NAME.jpg and masks/NAME.png, or maps of classes in y.npy; for a network whose output is an image \
      (output in its preprocessing) inputs/NAME.jpg and targets/NAME.png, or values in y.npy; for another regression, \
      y.npy has the values. Errors of images are in the output's values, not in gray levels. Running a bundle executes its author's code.
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

  @Flag(
    help: """
      y.npy has values of the output's shape, not classes, as for a network that graft finetune trained with \
      --loss mse, mae or charbonnier, where this is the default, as for a network whose output is an image.
      """)
  var values = false

  @Flag(help: "Print one JSON object.")
  var json = false

  @Option(
    help:
      "The name of the output. (default: the one that is an image, else the one that looks most like class scores)"
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
    let opened = try ModelBundle(opening: bundle)
    if values || opened.givesValues(from: output) {
      let evaluator = try ValueEvaluator(
        opened, output: output, threads: threads.count, batchSize: batchSize)
      return try evaluate(with: evaluator, valueTable)
    }
    if opened.hasPositions, output == nil { return try evaluatePositions(of: opened) }
    let evaluator = try Evaluator(
      opened, output: output, threads: threads.count, batchSize: batchSize)
    try evaluate(with: evaluator, writeConfusion: { try $0.writeConfusion(to: $1) }, table)
  }

  private func evaluatePositions(of opened: ModelBundle) throws {
    let evaluator = try SegmentationEvaluator(
      opened, threads: threads.count, batchSize: batchSize)
    try evaluate(
      with: evaluator, writeConfusion: { try $0.writeConfusion(to: $1) }, positionTable)
  }

  /// - Parameter writeConfusion: nil for values, which have no confusion matrix.
  private func evaluate<Own: DataEvaluator>(
    with evaluator: Own, writeConfusion: ((Own, _ path: String) throws -> Void)? = nil,
    _ table: (Own.Report) -> String
  ) throws {
    guard confusion == nil || writeConfusion != nil else {
      throw ValidationError("--confusion needs classes, and the network's outputs are values")
    }
    var evaluator = evaluator
    let report = try evaluator.evaluate(data) { done, all in
      ProgressLine.show("\(done) of \(all) images")
    }
    ProgressLine.clear()
    Console.note("\(data.escapedForDisplay): \(evaluator.data)")
    Console.warn(evaluator.warnings)
    if let confusion { try writeConfusion?(evaluator, confusion) }
    if let predictions { try evaluator.writePredictions(to: predictions) }
    if json { return try Console.json(report) }
    try Console.result(table(report))
  }

  private func valueTable(_ report: ValueEvaluator.Report) -> String {
    let figures = [
      ("MSE", report.meanSquaredError, 6), ("MAE", report.meanAbsoluteError, 6),
      ("R²", report.determination, 4), ("PSNR", report.peakSignalToNoise, 2),
      ("SSIM", report.structuralSimilarity, 4),
    ].compactMap { name, value, digits in
      value.map { "\(name) \($0.formatted(digits: digits))\(name == "PSNR" ? " dB" : "")" }
    }
    return "\(report.items) items: " + figures.joined(separator: ", ")
      + ", \(report.itemsPerSecond.formatted(digits: 0)) items/s"
  }

  private func positionTable(_ report: SegmentationEvaluator.Report) -> String {
    let lines =
      table(
        ["pixels", "IoU %", "recall %"],
        report.classes.map {
          ($0.label, ["\($0.pixels)", percent($0.intersectionOverUnion), percent($0.recall)])
        }) + [
        "\(report.images) images: mean IoU "
          + "\((100 * report.meanIntersectionOverUnion).formatted(digits: 2)) %, pixel accuracy "
          + "\((100 * report.pixelAccuracy).formatted(digits: 2)) %, loss "
          + (report.loss.map { $0.formatted(digits: 4) } ?? "–")
          + ", \(report.imagesPerSecond.formatted(digits: 0)) images/s"
      ]
    return lines.joined(separator: "\n")
  }

  private func percent(_ share: Double?) -> String {
    share.map { (100 * $0).formatted(digits: 1) } ?? "–"
  }

  /// A line for each class, with right-aligned columns.
  private func table(
    _ columns: [String], _ rows: [(label: String, cells: [String])]
  ) -> [String] {
    let labels = ["class"] + rows.map(\.label.escapedForDisplay)
    let cells = [columns] + rows.map(\.cells)
    let width = labels.map(\.count).max() ?? 0
    let widths = columns.indices.map { column in max(9, cells.map { $0[column].count }.max() ?? 0) }
    return zip(labels, cells).map { label, cells in
      label + String(repeating: " ", count: width - label.count)
        + zip(cells, widths).map { cell, width in
          "  " + String(repeating: " ", count: width - cell.count) + cell
        }.joined()
    }
  }

  private func table(_ report: Evaluator.Report) -> String {
    var lines = table(
      ["images", "precision %", "recall %"],
      report.classes.map {
        ($0.label, ["\($0.images)", percent($0.precision), percent($0.recall)])
      })
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

/// What the evaluators of classes, positions and values have in common.
private protocol DataEvaluator {
  associatedtype Report: Encodable
  var warnings: [Warning] { get }
  var data: String { get }
  mutating func evaluate(_ path: String, progress: (Int, Int) -> Void) throws -> Report
  func writePredictions(to path: String) throws
}

extension Evaluator: DataEvaluator {}
extension SegmentationEvaluator: DataEvaluator {}
extension ValueEvaluator: DataEvaluator {}
