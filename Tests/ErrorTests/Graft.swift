// Runs the real executable, as a user does: exit status, standard error and the files it leaves are
// what these tests are about.

import Foundation
import GraftTesting
import Testing

/// What a run of `graft` came to.
struct Outcome {
  /// The exit status; nil where a signal ended the run.
  var status: Int32?
  var output: String
  var errors: String
}

enum Graft {
  /// The executable that was built together with these tests.
  static let executable = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
    .appending(path: "graft").path

  /// - Parameter environment: variables that replace those of the tests.
  static func run(
    _ arguments: [String], environment: [String: String] = [:], in folder: URL? = nil
  ) throws -> Outcome {
    let process = Process()
    process.executableURL = URL(filePath: try locate())
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.currentDirectoryURL = folder
    // Files rather than pipes: nothing has to be drained while it runs.
    let scratch = try Scratch()
    let (output, errors) = (scratch.url("stdout"), scratch.url("stderr"))
    for url in [output, errors] { try Data().write(to: url) }
    process.standardOutput = try FileHandle(forWritingTo: output)
    process.standardError = try FileHandle(forWritingTo: errors)
    process.standardInput = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    return Outcome(
      status: process.terminationReason == .exit ? process.terminationStatus : nil,
      output: try String(contentsOf: output, encoding: .utf8),
      errors: try String(contentsOf: errors, encoding: .utf8))
  }

  static func locate() throws -> String {
    let candidates = [
      executable, Bundle.main.bundleURL.appending(path: "graft").path,
      Bundle.main.bundleURL.deletingLastPathComponent().appending(path: "graft").path,
    ]
    let found = candidates.first { FileManager.default.isExecutableFile(atPath: $0) }
    return try #require(found, "no graft beside the tests: \(candidates)")
  }

  /// Expects that a run fails as the contract says: status 1, one message that holds every one of
  /// `fragments`, nothing on standard output.
  static func expectFailure(
    _ arguments: [String], saying fragments: [String], environment: [String: String] = [:],
    _ what: String = "", sourceLocation: Testing.SourceLocation = #_sourceLocation
  ) throws {
    let outcome = try run(arguments, environment: environment)
    #expect(
      outcome.status == 1, "\(what): \(outcome.errors.suffix(2000))",
      sourceLocation: sourceLocation)
    #expect(outcome.output.isEmpty, "\(what)", sourceLocation: sourceLocation)
    for fragment in fragments {
      #expect(
        outcome.errors.contains(fragment),
        "\(what): expected \(fragment) in: \(outcome.errors.prefix(2000))",
        sourceLocation: sourceLocation)
    }
  }
}

/// A folder of a test's own, removed with the object.
final class Scratch: Sendable {
  let folder: URL

  init() throws {
    folder = FileManager.default.temporaryDirectory.appending(path: "graft-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  func url(_ name: String) -> URL { folder.appending(path: name) }

  @discardableResult
  func write(_ bytes: [UInt8], _ name: String) throws -> String {
    let url = url(name)
    try FileManager.default.createDirectory(
      at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(bytes).write(to: url)
    return url.path
  }

  /// Every file and folder below, by path.
  var listing: Set<String> {
    Set(FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String } ?? [])
  }
}

/// The committed end-to-end models.
let fixtures = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .appending(path: "EndToEndTests/Fixtures")
