// The contents of packed.bin in memory, once for the sessions of all programs of a library.

import Foundation
import GraftDiagnostics

/// The contents of packed.bin, on huge pages if it is large enough for them. The library that uses it checks it.
public final class PackedMemory: @unchecked Sendable {
  // Unchecked because a pointer is not Sendable; nothing writes through it after `init`.
  let bytes: UnsafeRawBufferPointer
  private let mapping: UnsafeMutableRawBufferPointer

  private static let hugePage = 2 << 20
  /// Bytes per read: larger ones are slower.
  private static let chunk = 4 << 20
  /// MADV_HUGEPAGE of Linux, which Swift does not import.
  private static let adviceForHugePages: Int32 = 14

  /// Reads the file at `path`.
  /// - Throws: ``GraftError`` of kind `inputOutput` that names the file, and of kind `machine` if memory is
  ///   exhausted.
  public init(reading path: String) throws {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    func failure(_ action: String) -> GraftError {
      GraftError(
        .inputOutput, "cannot \(action): \(String(cString: strerror(errno)))",
        at: SourceLocation(file: path))
    }
    guard file >= 0 else { throw failure("open") }
    defer { close(file) }
    var status = stat()
    guard fstat(file, &status) == 0 else { throw failure("read") }
    let count = Int(status.st_size)
    let slack = count >= Self.hugePage ? Self.hugePage : 0
    guard
      let start = mmap(
        nil, max(count, 1) + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      start != MAP_FAILED
    else { throw GraftError(.machine, "no memory for \(count) bytes of weights") }
    mapping = UnsafeMutableRawBufferPointer(start: start, count: max(count, 1) + slack)
    let skipped = slack == 0 ? 0 : (Self.hugePage - Int(bitPattern: start) % Self.hugePage) % slack
    let whole = UnsafeMutableRawBufferPointer(start: start + skipped, count: count)
    if slack > 0 { madvise(whole.baseAddress, count, Self.adviceForHugePages) }
    bytes = UnsafeRawBufferPointer(whole)
    var done = 0
    while done < count {
      let read = pread(
        file, whole.baseAddress.map { $0 + done }, min(Self.chunk, count - done), off_t(done))
      if read < 0, errno == EINTR { continue }
      guard read > 0 else {
        // The library then says that the file is too short.
        if read == 0 { break }
        throw failure("read")
      }
      done += read
    }
  }

  deinit { munmap(mapping.baseAddress, mapping.count) }
}
