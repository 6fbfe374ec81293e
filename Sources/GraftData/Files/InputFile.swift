// Reading files with descriptive errors. Files are not memory-mapped, because a mapped file that shrinks ends
// the process with SIGBUS.

import Glibc
import GraftDiagnostics

/// An open regular file, which may be read concurrently.
public final class InputFile: Sendable {
  /// The path as given by the caller.
  public let path: String
  /// The size in bytes when it was opened.
  public let size: Int
  private let descriptor: Int32

  /// - Throws: ``GraftError`` of kind `inputOutput` if there is no such file, it may not be read,
  ///   or it is a folder, a device or a pipe.
  public init(_ path: String) throws {
    // Without O_NONBLOCK, opening a pipe without a writer would block forever.
    let descriptor = retryingInterrupted { open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
    guard descriptor >= 0 else { throw systemError(errno, "cannot be opened", path) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      let code = errno
      close(descriptor)
      throw systemError(code, "cannot be opened", path)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      let kind = status.st_mode & S_IFMT == S_IFDIR ? "a folder" : "not a regular file"
      throw GraftError(.inputOutput, "cannot be read: it is \(kind)", at: .init(file: path))
    }
    self.descriptor = descriptor
    self.path = path
    self.size = Int(status.st_size)
  }

  deinit { close(descriptor) }

  /// Fills `target` with the bytes from `offset` on.
  /// - Throws: ``GraftError``: `inputOutput` if reading fails, `invalidData` if the file ends too early.
  public func read(into target: UnsafeMutableRawBufferPointer, at offset: Int) throws {
    guard offset >= 0 else { throw GraftError(.inconsistency, "a negative offset in \(path)") }
    var done = 0
    while done < target.count {
      let count = retryingInterrupted {
        pread(
          descriptor, target.baseAddress.map { $0 + done }, target.count - done, offset + done)
      }
      guard count >= 0 else { throw systemError(errno, "cannot be read", path) }
      guard count > 0 else {
        throw GraftError(
          .invalidData, "the file ends unexpectedly after \(offset + done) bytes",
          at: .init(file: path))
      }
      done += count
    }
  }

  /// `count` bytes from `offset` on.
  public func read(count: Int, at offset: Int) throws -> [UInt8] {
    guard count >= 0, offset >= 0, count <= size, offset <= size - count else {
      throw GraftError(
        .invalidData, "the file has \(size) bytes; \(count) at byte \(offset) were expected",
        at: .init(file: path))
    }
    return try [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      let target = UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count)
      try read(into: target, at: offset)
      filled = count
    }
  }

  /// The whole file.
  /// - Throws: ``GraftError`` of kind `invalidData` if it is larger than `limit`.
  public func readAll(limit: Int = .max) throws -> [UInt8] {
    guard size <= limit else {
      throw GraftError(
        .invalidData, "the file has \(size) bytes; at most \(limit) are supported",
        at: .init(file: path))
    }
    return try read(count: size, at: 0)
  }
}

/// The error of a system call that failed with `code` while doing something to `path`; `failure` is
/// the predicate: "cannot be opened".
func systemError(_ code: Int32, _ failure: String, _ path: String) -> GraftError {
  var buffer = [CChar](repeating: 0, count: 256)
  // Glibc shows the POSIX variant, which fills the buffer.
  _ = strerror_r(code, &buffer, buffer.count)
  var reason = String(
    decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  if reason.isEmpty { reason = "error \(code)" }
  let advice: String?
  switch code {
  case ENOSPC, EDQUOT: advice = "Free some disk space, or write to another disk."
  case EACCES, EPERM, EROFS: advice = "Check the permissions of the file and its folder."
  default: advice = nil
  }
  return GraftError(
    .inputOutput, "\(failure): \(reason)", at: SourceLocation(file: path), advice: advice)
}

/// Repeats a system call that a signal interrupted.
func retryingInterrupted<Result: SignedInteger>(_ call: () -> Result) -> Result {
  while true {
    let result = call()
    if result >= 0 || errno != EINTR { return result }
  }
}
