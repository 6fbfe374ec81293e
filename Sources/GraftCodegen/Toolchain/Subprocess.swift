// Runs a program without a shell and collects its output. No other code starts programs.

import CProcess
import Foundation
import GraftDiagnostics

/// Runs other programs: clang, Graphviz.
public enum Subprocess {
  public struct Result: Sendable {
    /// The exit status; 128 + N where signal N ended the program.
    public var status: Int32
    public var output: String
    public var errors: String

    /// How it ended, in words: "failed with status 1".
    var ending: String {
      status > 128 && status <= 128 + 64
        ? "was ended by signal \(status - 128)" : "failed with status \(status)"
    }
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

  /// The time limit in seconds, more than any program started here needs.
  public static let mostSeconds = 1800.0

  /// Runs `program` to its end.
  /// - Parameters:
  ///   - program: an absolute path.
  ///   - input: what it reads from standard input; nothing by default.
  ///   - folder: its working directory.
  ///   - seconds: after which it is killed.
  /// - Throws: ``GraftError`` of kind `toolchain` if it cannot be started, or was killed.
  public static func run(
    _ program: String, _ arguments: [String], input: String? = nil, in folder: String? = nil,
    seconds: Double = mostSeconds
  ) throws -> Result {
    var outcome = CProcess_outcome()
    func start() -> Int32 {
      withArguments([program] + arguments) { arguments in
        guard let input else {
          return CProcess_run(program, arguments, nil, 0, folder, seconds, &outcome)
        }
        let bytes = Array(input.utf8)
        return CProcess_run(program, arguments, bytes, bytes.count, folder, seconds, &outcome)
      }
    }
    var code = start()
    // A program that was just written is busy (ETXTBSY) while a child of another thread still has it open.
    for _ in 0..<50 where code == ETXTBSY {
      usleep(10_000)
      code = start()
    }
    guard code == 0 else {
      throw GraftError(
        .toolchain, "cannot start \(program.quotedForDisplay): \(String(cString: strerror(code)))",
        advice: Self.advice(for: code))
    }
    defer {
      close(outcome.output)
      close(outcome.errors)
    }
    let errors = try contents(of: outcome.errors, from: program)
    guard outcome.is_out_of_time == 0 else {
      throw GraftError(
        .toolchain,
        "\(program.quotedForDisplay) did not end within \(Int(seconds.rounded(.up))) s and was killed",
        context: errors.isEmpty ? [] : ["its error output: \(errors.prefix(1000))"])
    }
    let signal = outcome.wait_status & 0x7f
    return Result(
      status: signal == 0 ? outcome.wait_status >> 8 & 0xff : 128 + signal,
      output: try contents(of: outcome.output, from: program), errors: errors)
  }

  private static func advice(for code: Int32) -> String? {
    switch code {
    case EAGAIN: "Raise the limit on processes (ulimit -u)."
    case EMFILE, ENFILE: "Raise the limit on open files (ulimit -n)."
    case ENOMEM: "Free some memory, or raise the limit on it (ulimit -v)."
    default: nil
    }
  }

  /// Calls `body` with the arguments as C has them.
  private static func withArguments<Result>(
    _ arguments: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
  ) -> Result {
    let copies = arguments.map { strdup($0) }
    defer { copies.forEach { free($0) } }
    return (copies + [nil]).withUnsafeBufferPointer { pointers in
      guard let start = pointers.baseAddress else {
        return withUnsafePointer(to: nil) { body($0) }
      }
      return body(start)
    }
  }

  /// The contents of a file that another process has written.
  private static func contents(of file: Int32, from program: String) throws -> String {
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = pread(file, &piece, piece.count, off_t(bytes.count))
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else {
        throw GraftError(
          .toolchain,
          "cannot read the output of \(program.quotedForDisplay): \(String(cString: strerror(errno)))"
        )
      }
      guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
      bytes += piece[..<count]
    }
  }
}
