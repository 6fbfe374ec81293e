// graft verify: checks every digest, the format version, the graph and the shapes of a bundle.

import ArgumentParser
import Graft

struct VerifyCommand: ParsableCommand, UsesPaths {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Check the digest of every file of a bundle and the consistency of the files.",
    discussion: "Digests detect corruption, not tampering. The bundle's code is not loaded.")

  @Argument(help: "The bundle.", completion: .directory)
  var bundle: String

  @Flag(help: "Print one JSON object.")
  var json = false

  private struct Report: Encodable {
    var bundle: String
    var files: Int
    var programs: Int
    var bytes: Int
    var format: String
    var target: String
    var precision: Precision
  }

  func pathUses() throws -> PathUses {
    var uses = PathUses()
    uses.read("BUNDLE", bundle)
    return uses
  }

  func run() throws {
    let opened = try ModelBundle(opening: bundle)
    try opened.verify()
    let files = opened.manifest.files
    let report = Report(
      bundle: bundle, files: files.count, programs: opened.manifest.programs.count,
      bytes: files.values.reduce(0) { $0 + $1.bytes },
      format: "\(opened.manifest.format.major).\(opened.manifest.format.minor)",
      target: opened.manifest.target.name, precision: opened.manifest.precision)
    if json { return try Console.json(report) }
    try Console.result(
      "\(bundle): \(report.files) files, \(report.bytes.asBytes), format \(report.format), "
        + "\(report.precision.rawValue), for \(report.target): all digests, versions and shapes are correct"
    )
  }
}
