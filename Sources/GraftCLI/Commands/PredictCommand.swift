// graft predict: classifies images or their pixels, or computes images.

import ArgumentParser
import Foundation
import Graft
import GraftDiagnostics

struct PredictCommand: ParsableCommand, UsesPaths {
  static let configuration = CommandConfiguration(
    commandName: "predict",
    abstract: "Classify images or their pixels, or compute images from them.",
    discussion: """
      For a network with a class for every pixel, the classes are listed with the part of the image that they \
      cover, and --output-dir writes masks and overlays. For a network whose output is an image \
      (output in its preprocessing), --output-dir writes these as PNG. If an image cannot be read, its line says why, \
      the others are still processed, and the exit status is 1. \
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
    help: """
      The name of the output with the class scores, or that is an image. (default: the one that is an image, else the \
      one that looks most like class scores)
      """)
  var output: String?

  @Option(
    help: ArgumentHelp(
      "The folder for images: for a class for every pixel NAME.mask.png, whose palette indices are the classes, and "
        + "NAME.overlay.png; for a network whose output is an image, which needs it, NAME.output.png. (default: not "
        + "written)"),
    completion: .directory)
  var outputDir: String?

  @OptionGroup var threads: ThreadsOption

  func validate() throws {
    guard topK >= 1 else { throw ValidationError("--top-k must be at least 1") }
  }

  func pathUses() throws -> PathUses {
    var uses = PathUses()
    uses.read("BUNDLE", bundle)
    for image in images { uses.read("IMAGE", image) }
    try uses.writeText("--csv", csv)
    if outputDir != nil {
      let opened = try ModelBundle(opening: bundle)
      uses.write("--output-dir", outputDir, .files(images.flatMap { names(of: $0, by: opened) }))
    }
    return uses
  }

  /// The names of the files that --output-dir gets for an image.
  private func names(of image: String, by opened: ModelBundle) -> [String] {
    if opened.givesPictures(from: output) { return [ImageTranslator.fileName(of: image)] }
    let names = Segmenter.fileNames(of: image)
    return [names.mask, names.overlay]
  }

  func run() throws {
    let opened = try ModelBundle(opening: bundle)
    if opened.givesPictures(from: output) { return try translate(with: opened) }
    if opened.hasPositions, output == nil { return try segment(with: opened) }
    if outputDir != nil {
      try opened.checkOutput(output)
      throw GraftError(
        .invalidArgument,
        "--output-dir is for networks whose output is an image or a class for every pixel",
        at: SourceLocation(file: bundle))
    }
    try classify(with: opened)
  }

  private func translate(with opened: ModelBundle) throws {
    guard let outputDir else {
      throw GraftError(
        .invalidArgument, "the network's output is an image, and there is no folder for the images",
        at: SourceLocation(file: bundle), advice: "Pass --output-dir DIR.")
    }
    guard csv == nil else {
      throw GraftError(
        .invalidArgument, "--csv is for classes, but the network's output is an image",
        at: SourceLocation(file: bundle))
    }
    try checkNames(by: opened)
    let translator = try ImageTranslator(opened, output: output, threads: threads.count)
    Console.warn(translator.warnings)
    let list = json ? try Console.JSONList(named: "predictions") : nil
    var failures = Failures(count: images.count, verb: "computed")
    try translator.translate(images) { answer in
      var answer = answer
      try answer.write(to: outputDir)
      if let error = answer.error { failures.add(answer.file, error) }
      if let list { return try list.append(answer) }
      try show(
        answer.file, error: answer.error,
        rows: answer.output.map { [("\(answer.width) × \(answer.height)", outputDir + "/" + $0)] }
          ?? [])
    }
    try list?.finish()
    try failures.check()
  }

  private func segment(with opened: ModelBundle) throws {
    try checkNames(by: opened)
    let segmenter = try Segmenter(opened, threads: threads.count)
    Console.warn(segmenter.warnings)
    let table = try csv.map { try AnswerTable(at: $0, of: segmenter) }
    let list = json ? try Console.JSONList(named: "predictions") : nil
    var failures = Failures(count: images.count, verb: "segmented")
    try segmenter.segment(images) { answer in
      var answer = answer
      answer.classes = Array(answer.classes.prefix(topK))
      if let outputDir { try answer.write(to: outputDir) }
      try table?.append(answer)
      if let error = answer.error { failures.add(answer.file, error) }
      if let list { return try list.append(answer) }
      try show(
        answer.file, error: answer.error,
        rows: answer.classes.map { ((100 * $0.share).formatted(digits: 2) + " %", $0.label) })
    }
    try list?.finish()
    try table?.finish()
    try failures.check()
  }

  /// - Throws: ``GraftError`` of kind `invalidArgument` if two images would have the same files.
  private func checkNames(by opened: ModelBundle) throws {
    guard outputDir != nil else { return }
    var seen: [String: String] = [:]
    for image in images {
      guard let name = names(of: image, by: opened).first,
        let other = seen.updateValue(image, forKey: name)
      else { continue }
      throw GraftError(
        .invalidArgument,
        "the files of \(other.quotedForDisplay) and \(image.quotedForDisplay) would have the same name, "
          + name.quotedForDisplay,
        advice: "Predict them with different --output-dir.")
    }
  }

  private func classify(with opened: ModelBundle) throws {
    let classifier = try Classifier(opened, output: output, threads: threads.count)
    Console.warn(classifier.warnings)
    let table = try csv.map { try AnswerTable(at: $0, of: classifier) }
    let list = json ? try Console.JSONList(named: "predictions") : nil
    var failures = Failures(count: images.count, verb: "classified")
    try classifier.classify(images, top: topK) { answer in
      try table?.append(answer)
      if let error = answer.error { failures.add(answer.file, error) }
      if let list { return try list.append(answer) }
      try show(
        answer.file, error: answer.error,
        rows: answer.classes.map { candidate in
          (
            candidate.probability.map { (100 * $0).formatted(digits: 2) + " %" }
              ?? (candidate.score ?? 0).formatted(digits: 4), candidate.label
          )
        })
    }
    try list?.finish()
    try table?.finish()
    try failures.check()
  }

  private func show(_ file: String, error: String?, rows: [(number: String, label: String)]) throws
  {
    try Console.result(file.escapedForDisplay)
    if let error { try Console.result("          " + error) }
    for row in rows {
      let blank = String(repeating: " ", count: max(0, 10 - row.number.count))
      try Console.result("\(blank)\(row.number)  \(row.label.escapedForDisplay)")
    }
  }
}

/// The images of a command that could not be used.
private struct Failures {
  /// The number of all images, and what they could not be.
  let count: Int
  let verb: String
  private var first: (file: String, reason: String)?
  private var failed = 0

  init(count: Int, verb: String) {
    self.count = count
    self.verb = verb
  }

  mutating func add(_ file: String, _ reason: String) {
    first = first ?? (file, reason)
    failed += 1
  }

  /// - Throws: ``GraftError`` with the first failure, if there is one.
  func check() throws {
    guard let first else { return }
    throw GraftError(
      .invalidData, first.reason, at: SourceLocation(file: first.file),
      context: count == 1 ? [] : ["\(failed) of \(count) images could not be \(verb); the first"])
  }
}
