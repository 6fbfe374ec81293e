// A lock file next to a long-running output, so that no second process writes it.

import Foundation
import GraftDiagnostics

/// An exclusive lock on an output, held until deinitialization. The system releases it when the process ends
/// in any way, so a leftover lock file has no effect.
public final class PathLock {
  private let path: String
  private let descriptor: Int32

  /// - Parameter output: the path of the output; the lock is a file next to it.
  /// - Returns: nil if no file can be created next to the output.
  /// - Throws: ``GraftError`` of kind `inputOutput` if another process holds the lock.
  public init?(on output: String) throws {
    path = Self.path(for: output)
    while true {
      let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
      guard descriptor >= 0 else { return nil }
      if flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK {
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 32)
        let count = max(0, pread(descriptor, &bytes, bytes.count, 0))
        let number = Int(String(decoding: bytes.prefix(count), as: UTF8.self))
        throw GraftError(
          .inputOutput,
          "another run" + (number.map { " (process \($0))" } ?? "") + " is writing it",
          at: SourceLocation(file: output),
          advice: "Wait until that run is done, or choose another name.")
      }
      // The previous holder may have removed the file after it was opened here.
      var (own, named) = (stat(), stat())
      guard fstat(descriptor, &own) == 0, stat(path, &named) == 0, own.st_ino == named.st_ino,
        own.st_dev == named.st_dev
      else {
        close(descriptor)
        continue
      }
      let number = Array("\(getpid())".utf8)
      if ftruncate(descriptor, 0) == 0 { _ = pwrite(descriptor, number, number.count, 0) }
      self.descriptor = descriptor
      break
    }
    TemporaryPaths.add(path)
  }

  deinit {
    unlink(path)
    close(descriptor)
    TemporaryPaths.remove(path)
  }

  /// The path of the lock file.
  public static func path(for output: String) -> String { ResolvedPath(output).path + ".lock" }
}
