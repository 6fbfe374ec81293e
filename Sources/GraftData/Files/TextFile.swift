// Text files that are written incrementally and appear atomically.

import GraftDiagnostics

/// An incrementally written text file that is renamed to its destination at the end.
public final class TextFile {
  private static let chunk = 1 << 16
  private let pending: PendingFile
  private let file: OutputFile
  private var buffer: [UInt8] = []

  /// Starts a file, which may replace a regular one.
  /// - Throws: ``GraftError`` that names the file where it cannot be written.
  public init(at path: String) throws {
    let pending = PendingFile(replacing: try FileReplacement(at: path).path)
    self.pending = pending
    file = try pending.namingErrors { try OutputFile(pending.temporary) }
  }

  public func append(_ text: String) throws {
    buffer += text.utf8
    if buffer.count >= Self.chunk { try flush() }
  }

  /// Syncs the file and renames it to its destination.
  public func finish() throws {
    try flush()
    try pending.namingErrors { try file.close() }
    try pending.commit()
  }

  private func flush() throws {
    try pending.namingErrors { try buffer.withUnsafeBytes { try file.write($0) } }
    buffer.removeAll(keepingCapacity: true)
  }
}
