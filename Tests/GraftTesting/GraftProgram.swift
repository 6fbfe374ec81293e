// The built `graft`, and other programs, as their user runs them: arguments in, status and both outputs
// back. Tests start programs here and nowhere else.

import Foundation
import Testing

/// Runs the executable that was built together with the tests.
public enum GraftProgram {
  public struct Result: Sendable {
    /// The exit status; 128 + N where signal N ended it.
    public var status: Int32
    public var output: String
    public var errors: String
  }

  /// Where the executable is: beside the test program, whichever way that was started.
  public static func locate() throws -> String {
    let bundle = Bundle.main.bundleURL
    let candidates = [
      URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent(), bundle,
      bundle.deletingLastPathComponent(),
    ].map { $0.appending(path: "graft").path }
    let found = candidates.first { FileManager.default.isExecutableFile(atPath: $0) }
    return try #require(found, "no graft beside the tests: \(candidates)")
  }

  /// Runs `graft` with `arguments`.
  /// - Parameter environment: variables that replace those of the tests.
  public static func run(
    _ arguments: [String], environment: [String: String] = [:]
  ) throws -> Result {
    try run(
      locate(), arguments,
      environment: ProcessInfo.processInfo.environment.merging(environment) { $1 })
  }

  /// Starts `graft` and ends it with SIGKILL after some seconds, unless it ended before.
  /// - Returns: its exit status where it ended by itself, else nil.
  public static func kill(
    _ arguments: [String], after seconds: Double, environment: [String: String] = [:]
  ) throws -> Int32? {
    let process = Process()
    process.executableURL = URL(filePath: try locate())
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
    let clock = ContinuousClock()
    let end = clock.now + .seconds(seconds)
    while process.isRunning, clock.now < end { usleep(1000) }
    Foundation.kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
    return process.terminationReason == .exit ? process.terminationStatus : nil
  }

  /// Runs any program.
  /// - Parameter environment: in place of the tests' own.
  public static func run(
    _ program: String, _ arguments: [String], input: Data? = nil,
    environment: [String: String]? = nil
  ) throws -> Result {
    let scratch = FileManager.default.temporaryDirectory
      .appending(path: "graft-run-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: scratch, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: scratch) }
    // Files rather than pipes, which a silent reader would leave full.
    let files = try ["in", "out", "err"].map { name -> FileHandle in
      let url = scratch.appending(path: name)
      try (name == "in" ? input ?? Data() : Data()).write(to: url)
      return try name == "in" ? FileHandle(forReadingFrom: url) : FileHandle(forWritingTo: url)
    }
    let process = Process()
    process.executableURL = URL(filePath: program)
    process.arguments = arguments
    if let environment { process.environment = environment }
    process.standardInput = files[0]
    process.standardOutput = files[1]
    process.standardError = files[2]
    try process.run()
    process.waitUntilExit()
    let status =
      process.terminationReason == .exit
      ? process.terminationStatus : 128 + process.terminationStatus
    return Result(
      status: status,
      output: try String(decoding: Data(contentsOf: scratch.appending(path: "out")), as: UTF8.self),
      errors: try String(decoding: Data(contentsOf: scratch.appending(path: "err")), as: UTF8.self))
  }

  /// Expects that a run of `graft` fails as the command line's contract says: status 1, one message
  /// that holds every one of `fragments`, nothing on standard output.
  public static func expectFailure(
    _ arguments: [String], saying fragments: [String], environment: [String: String] = [:],
    _ what: String = "", sourceLocation: Testing.SourceLocation = #_sourceLocation
  ) throws {
    let result = try run(arguments, environment: environment)
    #expect(
      result.status == 1, "\(what): \(result.errors.suffix(2000))",
      sourceLocation: sourceLocation)
    #expect(result.output.isEmpty, "\(what)", sourceLocation: sourceLocation)
    for fragment in fragments {
      #expect(
        result.errors.contains(fragment),
        "\(what): expected \(fragment) in: \(result.errors.prefix(2000))",
        sourceLocation: sourceLocation)
    }
  }
}

/// A folder of its own for a test, removed at the end.
public func withTemporaryFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
  let folder = FileManager.default.temporaryDirectory
    .appending(path: "graft-test-\(UUID().uuidString)").path
  try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: folder) }
  return try body(folder)
}
