// Writes a directory atomically: it is written next to its destination, synced, and renamed, or exchanged
// with an existing bundle. A killed process leaves the old one untouched.

import CFileSystem
import Foundation
import GraftDiagnostics
import GraftIR

/// Atomically replaces or creates a bundle.
public struct DirectoryReplacement: Sendable {
  /// The destination.
  public let path: String
  private let isReplacing: Bool

  /// A directory with this file is a bundle, and may be replaced.
  private static let marker = "manifest.json"

  /// Checks the destination before any work.
  /// - Parameters:
  ///   - path: the destination.
  ///   - inputs: the paths that are read, none of which may be the output.
  /// - Throws: ``GraftError`` if the path exists and is not a bundle, if it is one of `inputs`, or if its
  ///   folder cannot be written.
  public init(at path: String, keeping inputs: [String] = []) throws {
    var path = path
    while path.count > 1, path.hasSuffix("/") { path.removeLast() }
    let location = SourceLocation(file: path)
    let last = path.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
    guard !["", ".", ".."].contains(last), !path.utf8.contains(0) else {
      throw GraftError(
        .invalidArgument, "the output path has no file name", at: location,
        advice: "Add a name for the bundle, such as tuned.graft.")
    }
    self.path = path
    let folder = Self.folder(of: path)
    guard access(folder, W_OK | X_OK) == 0 else {
      throw GraftError(
        .inputOutput,
        "cannot be written: \(folder.quotedForDisplay): \(String(cString: strerror(errno)))",
        at: location)
    }
    var uses = PathUses()
    for input in inputs { uses.read("", input) }
    uses.write("", path, .bundle)
    try uses.checkConflicts()
    var status = stat()
    guard lstat(path, &status) == 0 else {
      isReplacing = false
      return
    }
    guard status.st_mode & S_IFMT == S_IFDIR,
      FileManager.default.fileExists(atPath: path + "/" + Self.marker)
    else {
      throw GraftError(
        .inputOutput, "exists and is not a bundle", at: location,
        advice: "Choose another name for the output.")
    }
    isReplacing = true
  }

  private static func folder(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  /// Puts files into a folder: all of them or none where there is no such folder yet, with its parents;
  /// each atomically if there is one.
  public static func fill(_ folder: String, _ body: (_ folder: String) throws -> Void) throws {
    var status = stat()
    if lstat(folder, &status) == 0 { return try body(folder) }
    let place = ResolvedPath(folder)
    try makeFolder(place.parent?.path ?? "/")
    try DirectoryReplacement(at: place.path).write(body)
  }

  /// Calls `body` with an empty directory, which then replaces the destination.
  /// - Throws: errors of `body`, or ``GraftError`` if writing fails; nothing has changed then.
  public func write(_ body: (_ folder: String) throws -> Void) throws {
    let folder = Self.folder(of: path)
    let name = path.split(separator: "/").last.map(String.init) ?? "bundle"
    // Names may be as long as the file system allows, so the temporary one is not made longer.
    let temporary =
      "\(folder)/.\(name.utf8.count > 200 ? "bundle" : name)."
      + String(UInt64.random(in: .min ... .max), radix: 36)
    guard mkdir(temporary, 0o755) == 0 else { throw failure("cannot be created", temporary) }
    TemporaryPaths.add(temporary)
    defer {
      try? FileManager.default.removeItem(atPath: temporary)
      TemporaryPaths.remove(temporary)
    }
    do {
      try body(temporary)
      try MappedFile.checkNoneWasCut()
      try Self.syncContents(of: temporary)
    } catch var error as GraftError {
      // Errors use the user's path.
      if let file = error.location.file, file.hasPrefix(temporary) {
        error.location.file = path + file.dropFirst(temporary.count)
      }
      throw error
    }
    // Neither call overwrites a path that was created in the meantime.
    let status =
      isReplacing
      ? CFileSystem_exchange(temporary, path) : CFileSystem_place(temporary, path)
    guard status == 0 else {
      throw failure("cannot be renamed to its final name", path)
    }
    try Self.sync(folder)
  }

  /// Syncs the files first, then the folder.
  private static func syncContents(of folder: String) throws {
    for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
      let path = folder + "/" + name
      var status = stat()
      guard lstat(path, &status) == 0 else { throw systemError(errno, "cannot be read", path) }
      switch status.st_mode & S_IFMT {
      case S_IFDIR: try syncContents(of: path)
      case S_IFREG: try sync(path)
      default: break
      }
    }
    try sync(folder)
  }

  private static func sync(_ path: String) throws {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    defer { if descriptor >= 0 { close(descriptor) } }
    // Some file systems cannot sync a directory and return EINVAL.
    guard descriptor >= 0, fsync(descriptor) == 0 || errno == EINVAL else {
      throw systemError(errno, "cannot be written", path)
    }
  }

  private func failure(_ what: String, _ path: String) -> GraftError {
    systemError(errno, what, path)
  }
}
