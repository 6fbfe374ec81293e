// graft run: runs a bundle on tensors with the compiled kernels or the reference evaluator.

import ArgumentParser
import Foundation
import Graft
import GraftDiagnostics

struct RunCommand: ParsableCommand, UsesPaths {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Run a bundle on tensors from NumPy files.",
    discussion: """
      The shapes of the inputs choose the program of a bundle that was compiled for several; axes are in the \
      order of the model's file. Running a bundle executes its author's code.
      """)

  @Argument(help: "The bundle.", completion: .directory)
  var bundle: String

  @Option(
    name: .long,
    help: ArgumentHelp(
      "The tensor of an input, with any batch size; repeat for each input.", valueName: "NAME=X.npy"
    ))
  var input: [String] = []

  @Option(help: "The folder for the outputs, as NAME.npy.", completion: .directory)
  var outputDir: String

  @Flag(help: "Use the reference evaluator instead of the compiled kernels.")
  var reference = false

  @Option(
    help: "Also write every intermediate value to this folder. (default: not written)",
    completion: .directory)
  var dumpValues: String?

  @OptionGroup var threads: ThreadsOption

  func pathUses() throws -> PathUses {
    var uses = PathUses()
    let manifest = try ModelBundle(opening: bundle).manifest
    uses.read("BUNDLE", bundle)
    for file in try assignments(for: manifest).values { uses.read("--input", file) }
    uses.write(
      "--output-dir", outputDir, .files(TensorFiles.names(of: manifest.outputs.map(\.name))))
    uses.write("--dump-values", dumpValues, .files(["*.npy"]))
    return uses
  }

  func run() throws {
    let opened = try ModelBundle(opening: bundle)
    let runner = try TensorRunner(
      opened, mode: reference ? .reference : .compiled(threads: threads.count))
    let inputs = try TensorFiles.read(try assignments(for: opened.manifest))
    let results = try runner.run(inputs, keepingValues: dumpValues != nil)
    try TensorFiles.write(results.outputs, to: outputDir)
    if let dumpValues { try TensorFiles.write(results.values, to: dumpValues) }
  }

  /// The files of `NAME=FILE` by name. The name may be omitted if the network has one input.
  private func assignments(for manifest: Manifest) throws -> [String: String] {
    var files: [String: String] = [:]
    for text in input {
      let known = manifest.inputs.map(\.name).filter { text.hasPrefix($0 + "=") }
      if let name = known.max(by: { $0.count < $1.count }) {
        files[name] = String(text.dropFirst(name.count + 1))
      } else if manifest.inputs.count == 1, !text.contains("=") {
        files[manifest.inputs[0].name] = text
      } else {
        throw GraftError(
          .invalidArgument,
          "--input \(text.quotedForDisplay) names no input; the inputs are "
            + manifest.inputs.map(\.name.quotedForDisplay).joined(separator: ", "))
      }
    }
    return files
  }
}
