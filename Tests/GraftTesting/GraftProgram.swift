// The built `graft` as its user runs it: arguments in, status and both outputs back.

import Foundation
import Testing

/// Runs the executable that stands beside the test program.
public enum GraftProgram {
  public struct Result: Sendable {
    /// The exit status; 128 + N where signal N ended it.
    public var status: Int32
    public var output: String
    public var errors: String
  }

  static let path = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
    .deletingLastPathComponent().appending(path: "graft").path

  /// Runs `graft` with `arguments`.
  /// - Parameter environment: in place of the test's own.
  public static func run(
    _ arguments: [String], environment: [String: String]? = nil
  ) throws -> Result {
    try run(path, arguments, environment: environment)
  }

  /// Runs any program.
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
}

/// A folder of its own for a test, removed at the end.
public func withTemporaryFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
  let folder = FileManager.default.temporaryDirectory
    .appending(path: "graft-test-\(UUID().uuidString)").path
  try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: folder) }
  return try body(folder)
}
