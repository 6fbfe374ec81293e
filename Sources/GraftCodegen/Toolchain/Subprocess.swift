// Runs a program and collects what it says, without a shell.

import Foundation
import GraftDiagnostics

enum Subprocess {
  struct Result {
    var status: Int32
    var output: String
    var errors: String
  }

  /// Runs `program` to its end.
  /// - Throws: ``GraftError`` of kind `toolchain` where it cannot be started.
  static func run(_ program: String, _ arguments: [String], in folder: String? = nil) throws
    -> Result
  {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    if let folder { process.currentDirectoryURL = URL(fileURLWithPath: folder) }
    process.standardInput = FileHandle.nullDevice
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

  /// Written by one thread before `done` is left, read by another after it was waited for.
  private final class Collected: @unchecked Sendable {
    var data = Data()
  }
}
