// graft preprocess: writes a network's inputs as NumPy files, for programs that use a bundle without Graft.

import ArgumentParser
import Graft
import GraftDiagnostics

struct PreprocessCommand: ParsableCommand, UsesPaths {
  static let configuration = CommandConfiguration(
    commandName: "preprocess",
    abstract: "Write preprocessed inputs, targets and file names as x.npy, y.npy and files.txt.",
    discussion: "The bundle's code is not loaded.")

  @Argument(help: "The bundle.", completion: .directory)
  var bundle: String

  @Option(
    help: "The directory of the data, in one of the formats of evaluate.", completion: .directory)
  var data: String

  @Option(help: "The folder for the output files.", completion: .directory)
  var outputDir: String

  @Option(
    help: ArgumentHelp(
      "The output that y.npy is for, if there are several. (default: as in evaluate)",
      valueName: "name"))
  var output: String?

  @OptionGroup var threads: ThreadsOption

  func pathUses() throws -> PathUses {
    var uses = PathUses()
    uses.read("BUNDLE", bundle)
    uses.read("--data", data, .data)
    uses.write(
      "--output-dir", outputDir,
      .files(try DataWriter(ModelBundle(opening: bundle), output: output).fileNames))
    return uses
  }

  func run() throws {
    var writer = try DataWriter(ModelBundle(opening: bundle), output: output)
    let count = try writer.write(data, to: outputDir, threads: threads.count) { done, all in
      ProgressLine.show("\(done) of \(all) images")
    }
    ProgressLine.clear()
    Console.note("\(data.escapedForDisplay): \(writer.data)")
    Console.warn(writer.warnings)
    Console.note("\(outputDir): \(count) items")
  }
}
