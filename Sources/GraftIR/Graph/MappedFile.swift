// Memory-mapped files: weights are read in place, and unread pages cost nothing.

import CProcess
import Foundation
import GraftDiagnostics
import Synchronization

/// A regular file, mapped read-only for as long as the object lives.
///
/// If the file is truncated while it is mapped, the missing part reads as zeros in a process that called
/// `CProcess_surviveCutFiles`; in others, reading it ends the process. So callers must call
/// ``checkNoneWasCut()`` before they publish results computed from mapped files.
public final class MappedFile: ByteSource, @unchecked Sendable {
  // Unchecked because a pointer is not Sendable; nothing writes through it.
  private let base: UnsafeRawBufferPointer
  private let watched: Watched?
  public var count: Int { base.count }

  /// Maps `path`.
  /// - Parameter following: whether a symbolic link as the last component is followed.
  /// - Throws: ``GraftError`` of kind `inputOutput`, naming the file.
  public init(_ path: String, following: Bool = true) throws {
    func failure(_ message: String) -> GraftError {
      GraftError(.inputOutput, message, at: SourceLocation(file: path))
    }
    guard !path.utf8.contains(0) else { throw failure("a path cannot contain a NUL byte") }
    // Without O_NONBLOCK, opening a pipe would wait for a writer.
    let flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | (following ? 0 : O_NOFOLLOW)
    let descriptor = open(path, flags)
    guard descriptor >= 0 else { throw failure(Self.reason("cannot be opened", errno)) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      throw failure(Self.reason("cannot be read", errno))
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw failure(
        status.st_mode & S_IFMT == S_IFDIR
          ? "is a folder, expected a file" : "is not a regular file, so it cannot be mapped")
    }
    guard let size = Int(exactly: status.st_size), size > 0 else {
      base = UnsafeRawBufferPointer(start: nil, count: 0)
      watched = nil
      return
    }
    guard let start = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), start != MAP_FAILED
    else { throw failure(Self.reason("cannot be mapped", errno)) }
    base = UnsafeRawBufferPointer(start: start, count: size)
    let watched = Watched(
      path: path, size: size, device: UInt64(status.st_dev), inode: UInt64(status.st_ino),
      mapping: CProcess_watchMapping(start, size))
    self.watched = watched
    Self.files.withLock { $0.open[ObjectIdentifier(watched)] = watched }
  }

  deinit {
    if let watched {
      let wasCut = watched.wasCut
      Self.files.withLock { files in
        files.open[ObjectIdentifier(watched)] = nil
        if wasCut { files.cut = files.cut ?? watched.path }
      }
      CProcess_unwatchMapping(watched.mapping)
    }
    if let start = base.baseAddress {
      munmap(UnsafeMutableRawPointer(mutating: start), base.count)
    }
  }

  public func withUnsafeBytes<Result>(
    _ body: (UnsafeRawBufferPointer) throws -> Result
  ) rethrows -> Result { try body(base) }

  public func releasePages() {
    guard let start = base.baseAddress else { return }
    madvise(UnsafeMutableRawPointer(mutating: start), base.count, MADV_DONTNEED)
  }

  private static func reason(_ what: String, _ code: Int32) -> String {
    "\(what): \(String(cString: strerror(code)))"
  }

  // MARK: Files that are cut short

  /// A mapped file, with the information to detect truncation.
  private final class Watched: Sendable {
    let path: String
    let size: Int
    let device: UInt64
    let inode: UInt64
    let mapping: Int32

    init(path: String, size: Int, device: UInt64, inode: UInt64, mapping: Int32) {
      self.path = path
      self.size = size
      self.device = device
      self.inode = inode
      self.mapping = mapping
    }

    /// The rest of an existing last page reads as zeros without a signal, so the size is checked too.
    /// Replacing the file by another one does not matter, because the mapped one is intact.
    var wasCut: Bool {
      if CProcess_isCut(mapping) != 0 { return true }
      var status = stat()
      return stat(path, &status) == 0 && UInt64(status.st_dev) == device
        && UInt64(status.st_ino) == inode && status.st_size < size
    }
  }

  /// The mapped files, and the first one that was found truncated when it was unmapped.
  private static let files = Mutex<(open: [ObjectIdentifier: Watched], cut: String?)>(([:], nil))

  /// - Throws: ``GraftError`` of kind `inputOutput` that names a file that was truncated while it was mapped,
  ///   so that zeros may have been read.
  public static func checkNoneWasCut() throws {
    let path = files.withLock { files in
      files.cut ?? files.open.values.filter(\.wasCut).map(\.path).min()
    }
    guard let path else { return }
    throw GraftError(
      .inputOutput, "was truncated or became unreadable while it was read",
      at: SourceLocation(file: path),
      advice: "Run the command again when no other process writes the file.")
  }
}
