// The resident memory of this process.

import Foundation
import GraftDiagnostics

/// The process's memory as Linux counts it.
enum ResidentMemory {
  /// The peak resident set size in bytes.
  /// - Throws: ``GraftError`` of kind `machine` if the system does not report it.
  static func peak() throws -> Int { try entry("VmHWM") }

  /// The current resident set size in bytes.
  /// - Throws: ``GraftError`` as ``peak()``.
  static func now() throws -> Int { try entry("VmRSS") }

  /// The resident memory in bytes that is allocated, not mapped from files such as libraries.
  /// - Throws: ``GraftError`` as ``peak()``.
  static func allocated() throws -> Int { try entry("RssAnon") }

  private static func entry(_ name: String) throws -> Int {
    let status = FileManager.default.contents(atPath: "/proc/self/status") ?? Data()
    let line = String(decoding: status, as: UTF8.self).split(separator: "\n")
      .first { $0.hasPrefix("\(name):") }
    guard let kilobytes = line?.split(whereSeparator: \.isWhitespace).dropFirst().first,
      let count = Int(kilobytes)
    else { throw GraftError(.machine, "/proc/self/status has no memory usage") }
    return count * 1024
  }
}
