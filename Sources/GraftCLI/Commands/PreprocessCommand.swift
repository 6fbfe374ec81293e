// graft preprocess: what a network would be fed, for programs that use a bundle without Graft.

import ArgumentParser
import Graft
import GraftDiagnostics

struct PreprocessCommand: ParsableCommand, UsesPaths {
  static let configuration = CommandConfiguration(
    commandName: "preprocess",
    abstract: "Write what a network is fed as x.npy, y.npy and files.txt.",
    discussion: "The bundle's code is not loaded.")

  @Argument(help: "The bundle.", completion: .directory)
  var bundle: String

  @Option(help: "The data, as for evaluate.", completion: .directory)
  var data: String

  @Option(help: "The folder to write into.", completion: .directory)
  var outputDir: String

  @OptionGroup var threads: ThreadsOption

  func pathUses() throws -> PathUses {
    var uses = PathUses()
    uses.read("BUNDLE", bundle)
    uses.read("--data", data, .data)
    uses.write(
      "--output-dir", outputDir,
      .files(try DataWriter(ModelBundle(opening: bundle)).fileNames))
    return uses
  }

  func run() throws {
    var writer = try DataWriter(ModelBundle(opening: bundle))
    let count = try writer.write(data, to: outputDir, threads: threads.count) { done, all in
      ProgressLine.show("\(done) of \(all) images")
    }
    ProgressLine.clear()
    Console.warn(writer.warnings)
    Console.note("\(outputDir): \(count) items")
  }
}
