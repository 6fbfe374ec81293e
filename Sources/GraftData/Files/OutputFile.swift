// Writing a new file with descriptive errors. DirectoryReplacement and FileReplacement make writing atomic.

import Foundation
import GraftDiagnostics

/// An unbuffered output file with descriptive errors.
public final class OutputFile {
  private let path: String
  private var descriptor: Int32

  /// Creates the file; it must not exist yet.
  public init(_ path: String) throws {
    self.path = path
    descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw failure() }
  }

  deinit { if descriptor >= 0 { _ = Foundation.close(descriptor) } }

  public func write(_ bytes: UnsafeRawBufferPointer) throws {
    var rest = bytes[...]
    while !rest.isEmpty {
      let part = UnsafeRawBufferPointer(rebasing: rest)
      let count = Foundation.write(descriptor, part.baseAddress, part.count)
      if count < 0 {
        if errno == EINTR { continue }
        throw failure()
      }
      rest = rest.dropFirst(count)
    }
  }

  /// Replaces bytes that were written before, from `offset` on.
  public func overwrite(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws {
    var done = 0
    while done < bytes.count {
      let count = pwrite(
        descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done, off_t(offset + done))
      if count < 0 {
        if errno == EINTR { continue }
        throw failure()
      }
      done += count
    }
  }

  /// Waits until the contents are on the disk, and closes.
  public func close() throws {
    guard fsync(descriptor) == 0 else { throw failure() }
    let open = descriptor
    descriptor = -1
    guard Foundation.close(open) == 0 else { throw failure() }
  }

  private func failure() -> GraftError { systemError(errno, "cannot be written", path) }
}
