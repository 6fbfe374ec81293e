// Makes a file appear atomically: it is written beside its place, synced, and renamed.

import Foundation
import GraftDiagnostics
import GraftIR

/// Writes or replaces one regular file in one step.
public struct FileReplacement: Sendable {
  /// Where the file will stand.
  public let path: String

  /// Looks at the place before any work is done.
  /// - Parameters:
  ///   - path: Where the file will stand. A regular file there will be replaced.
  ///   - inputs: What is being read: the output may be none of them, nor lie inside one.
  /// - Throws: ``GraftError`` if something else stands there, the output is an input, or its folder
  ///   cannot be written.
  public init(at path: String, keeping inputs: [String] = []) throws {
    let location = SourceLocation(file: path)
    let last = path.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
    guard !["", ".", ".."].contains(last), !path.utf8.contains(0) else {
      throw GraftError(
        .invalidArgument, "the output path has no file name", at: location,
        advice: "Add a file name; the path must not end with a slash.")
    }
    // A link stays, and what it leads to is replaced.
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

  fileprivate static func folder(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  /// Calls `body` with the path of a file that does not exist yet; what it makes there takes its place.
  /// - Throws: What `body` throws, or ``GraftError`` where the disk says no; nothing has changed then.
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

/// A file that is being written beside its place. It is removed unless it is committed.
final class PendingFile {
  /// Where to write it; nothing stands there yet.
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

  /// Runs `body`; its errors name the file as the user knows it.
  func namingErrors<Result>(_ body: () throws -> Result) throws -> Result {
    do {
      return try body()
    } catch var error as GraftError where error.location.file == temporary {
      error.location.file = path
      throw error
    }
  }

  /// Puts the file, which must be on the disk by now, in its place.
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
