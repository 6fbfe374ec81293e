// Runs a helper program that is found on PATH, with text in and text out.

import Foundation
import GraftDiagnostics

enum Subprocess {
  /// Runs `name` with `arguments` and `input` on its standard input.
  /// - Returns: its standard output.
  /// - Throws: ``GraftError`` of kind `toolchain` where it is not on PATH or fails.
  static func run(
    _ name: String, _ arguments: [String], input: String, advice: String
  ) throws -> String {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    guard
      let path = folders.map({ "\($0)/\(name)" }).first(where: {
        FileManager.default.isExecutableFile(atPath: $0)
      })
    else {
      throw GraftError(.toolchain, "\(name) is not on PATH", advice: advice)
    }
    let process = Process()
    process.executableURL = URL(filePath: path)
    process.arguments = arguments
    let (source, sink, errors) = (Pipe(), Pipe(), Pipe())
    process.standardInput = source
    process.standardOutput = sink
    process.standardError = errors
    try process.run()
    // Written and read at once, so that neither side waits for a full pipe.
    let writing = Thread {
      try? source.fileHandleForWriting.write(contentsOf: Data(input.utf8))
      try? source.fileHandleForWriting.close()
    }
    writing.start()
    let output = sink.fileHandleForReading.readDataToEndOfFile()
    let complaint = errors.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      let first = String(decoding: complaint, as: UTF8.self).split(separator: "\n").first ?? ""
      throw GraftError(
        .toolchain,
        "\(name) failed with status \(process.terminationStatus): "
          + String(first).escapedForDisplay)
    }
    return String(decoding: output, as: UTF8.self)
  }
}
