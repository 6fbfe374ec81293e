// A file's bytes by mapping: weights are looked at in place, and pages that nobody reads cost
// nothing.

import Foundation
import GraftDiagnostics

/// A regular file, mapped read-only for as long as the object lives.
///
/// The file must not be shortened meanwhile: reading past its new end would end the process.
public final class MappedFile: ByteSource, @unchecked Sendable {
  // Unchecked, since a pointer is not Sendable: nothing ever writes through it.
  private let base: UnsafeRawBufferPointer
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
          ? "is a folder, expected a file" : "is not a regular file, which it must be to be mapped")
    }
    guard let size = Int(exactly: status.st_size), size > 0 else {
      base = UnsafeRawBufferPointer(start: nil, count: 0)
      return
    }
    guard let start = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), start != MAP_FAILED
    else { throw failure(Self.reason("cannot be mapped", errno)) }
    base = UnsafeRawBufferPointer(start: start, count: size)
  }

  deinit {
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
}
