// Writes a file atomically: it is written next to its destination, synced, and renamed.

import Foundation
import GraftDiagnostics
import GraftIR

/// Atomically creates or replaces a regular file.
public struct FileReplacement: Sendable {
  /// The destination.
  public let path: String

  /// Checks the destination before any work.
  /// - Parameters:
  ///   - path: The destination. An existing regular file will be replaced.
  ///   - inputs: The paths that are read; the output may not be one of them or inside one.
  /// - Throws: ``GraftError`` if the path exists and is not a regular file, the output is an input, or its
  ///   folder cannot be written.
  public init(at path: String, keeping inputs: [String] = []) throws {
    let location = SourceLocation(file: path)
    let last = path.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
    guard !["", ".", ".."].contains(last), !path.utf8.contains(0) else {
      throw GraftError(
        .invalidArgument, "the output path has no file name", at: location,
        advice: "Add a file name; the path must not end with a slash.")
    }
    // A link is kept, and its target is replaced.
    self.path = ResolvedPath(path).path
    let folder = Self.folder(of: self.path)
    guard access(folder, W_OK | X_OK) == 0 else {
      throw systemError(errno, "cannot be written", path)
    }
    var uses = PathUses()
    for input in inputs { uses.read("", input) }
    uses.write("", self.path, .file)
    try uses.checkConflicts()
    var status = stat()
    guard lstat(self.path, &status) == 0 else { return }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw GraftError(
        .inputOutput, "exists and is not a regular file", at: location,
        advice: "Choose another name.")
    }
  }

  /// Why a file of this name cannot be in a folder, which must exist; nil if it can.
  public static func problem(withName name: String, in folder: String) -> String? {
    let longest = pathconf(folder, Int32(_PC_NAME_MAX))
    guard longest > 0, name.utf8.count > longest else { return nil }
    return
      "the name \(name.quotedForDisplay) has \(name.utf8.count) bytes, the longest possible is \(longest)"
  }

  fileprivate static func folder(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  /// Calls `body` with the path of a new temporary file, which then replaces the destination.
  /// - Throws: Errors of `body`, or ``GraftError`` if writing fails; nothing has changed then.
  public func write(_ body: (_ temporary: String) throws -> Void) throws {
    let pending = PendingFile(replacing: path)
    try pending.namingErrors { try body(pending.temporary) }
    try pending.commit()
  }

  /// Writes a whole file.
  public func write(_ bytes: [UInt8]) throws {
    try write { temporary in
      let file = try OutputFile(temporary)
      try bytes.withUnsafeBytes { try file.write($0) }
      try file.close()
    }
  }
}

/// A temporary file next to its destination. It is removed unless it is committed.
final class PendingFile {
  /// The temporary path.
  let temporary: String
  private let path: String
  private let folder: String

  init(replacing path: String) {
    self.path = path
    folder = FileReplacement.folder(of: path)
    temporary = "\(folder)/.graft-" + String(UInt64.random(in: .min ... .max), radix: 36)
    TemporaryPaths.add(temporary)
  }

  deinit {
    unlink(temporary)
    TemporaryPaths.remove(temporary)
  }

  /// Runs `body`; its errors use the user's path.
  func namingErrors<Result>(_ body: () throws -> Result) throws -> Result {
    do {
      return try body()
    } catch var error as GraftError where error.location.file == temporary {
      error.location.file = path
      throw error
    }
  }

  /// Renames the file, which must have been synced, to its destination.
  func commit() throws {
    try MappedFile.checkNoneWasCut()
    guard rename(temporary, path) == 0 else {
      throw systemError(errno, "cannot be renamed to its final name", path)
    }
    let descriptor = open(folder, O_RDONLY | O_CLOEXEC)
    defer { if descriptor >= 0 { close(descriptor) } }
    guard descriptor >= 0, fsync(descriptor) == 0 || errno == EINVAL else {
      throw systemError(errno, "cannot be written", folder)
    }
  }
}
