// Runs a program and collects what it says, without a shell. Only here are programs started.

import Foundation
import GraftDiagnostics

/// Runs other programs: clang, Graphviz.
public enum Subprocess {
  public struct Result: Sendable {
    /// The exit status; 128 + N where signal N ended the program.
    public var status: Int32
    public var output: String
    public var errors: String
  }

  /// The absolute path of the program `name`: the first on PATH that may be executed.
  public static func find(
    _ name: String, environment: [String: String] = ProcessInfo.processInfo.environment
  ) -> String? {
    searchPath(environment).map { "\($0)/\(name)" }
      .first { FileManager.default.isExecutableFile(atPath: $0) }
  }

  /// The folders of PATH, in order.
  static func searchPath(_ environment: [String: String]) -> [String] {
    (environment["PATH"] ?? "").split(separator: ":").map(String.init)
  }

  /// Runs `program` to its end.
  /// - Parameters:
  ///   - program: an absolute path.
  ///   - input: what it reads from standard input; nothing by default.
  ///   - folder: its working directory.
  /// - Throws: ``GraftError`` of kind `toolchain` where it cannot be started.
  public static func run(
    _ program: String, _ arguments: [String], input: String? = nil, in folder: String? = nil
  ) throws -> Result {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    if let folder { process.currentDirectoryURL = URL(fileURLWithPath: folder) }
    process.standardInput = try input.map { try file(holding: $0) } ?? FileHandle.nullDevice
    let (output, errors) = (Pipe(), Pipe())
    process.standardOutput = output
    process.standardError = errors
    do { try process.run() } catch {
      throw GraftError(
        .toolchain,
        "cannot start \(program.quotedForDisplay): \(error.localizedDescription)")
    }
    // Standard error is drained on another thread: a full pipe would stop the program.
    let collected = Collected()
    let done = DispatchGroup()
    DispatchQueue.global().async(group: done) {
      collected.data = errors.fileHandleForReading.readDataToEndOfFile()
    }
    let text = output.fileHandleForReading.readDataToEndOfFile()
    done.wait()
    process.waitUntilExit()
    let status =
      process.terminationReason == .exit
      ? process.terminationStatus
      : 128 + process.terminationStatus
    return Result(
      status: status, output: String(decoding: text, as: UTF8.self),
      errors: String(decoding: collected.data, as: UTF8.self))
  }

  /// A file without a name that holds `text`. Unlike a pipe it may be left unread: writing to a pipe
  /// that nobody reads any more ends the writer with SIGPIPE.
  private static func file(holding text: String) throws -> FileHandle {
    let url = FileManager.default.temporaryDirectory.appending(path: "graft-\(UUID().uuidString)")
    do {
      defer { try? FileManager.default.removeItem(at: url) }
      try Data(text.utf8).write(to: url)
      return try FileHandle(forReadingFrom: url)
    } catch {
      throw GraftError(
        .inputOutput, "cannot be written: \(error.localizedDescription)",
        at: SourceLocation(file: url.path))
    }
  }

  /// Written by one thread before `done` is left, read by another after it was waited for.
  private final class Collected: @unchecked Sendable {
    var data = Data()
  }
}
