// Temporary folders.

import Foundation
import GraftDiagnostics

/// A temporary folder, removed on deinitialization or at Ctrl-C.
public final class TemporaryFolder: Sendable {
  public let path: String

  /// - Throws: ``GraftError`` of kind `inputOutput` if none can be made.
  public init() throws {
    let template = NSTemporaryDirectory() + "/graft-XXXXXX"
    var bytes = Array(template.utf8CString)
    guard mkdtemp(&bytes) != nil else {
      throw GraftError(
        .inputOutput, "cannot make a temporary folder", at: .init(file: NSTemporaryDirectory()))
    }
    path = String(decoding: bytes.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    TemporaryPaths.add(path)
  }

  deinit {
    try? FileManager.default.removeItem(atPath: path)
    TemporaryPaths.remove(path)
  }
}
