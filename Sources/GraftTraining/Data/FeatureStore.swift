// Rows of values per item, such as those at the freeze line, so that the frozen layers run only once. Stored
// in memory, or in an unnamed temporary file if they are large.

import Foundation
import GraftData
import GraftDiagnostics

/// Rows of floats for a number of items; one kind of row per value at the freeze line, and a last one with the
/// targets where items have many (``FineTuningPlan/targetWidth``).
final class FeatureStore {
  /// Floats per item, for each kind of row.
  let widths: [Int]
  /// The offset of the rows of each kind, in floats.
  private let starts: [Int]
  private let place: Place

  private enum Place {
    case memory(UnsafeMutableBufferPointer<Float>)
    /// Rows are read and written, not mapped, so that the page cache does not count as memory of this
    /// process.
    case file(Int32)
  }

  /// The maximum size in memory, in bytes; larger stores use a file if there is disk space.
  static let largestInMemory = 64 << 20

  static func byteCount(items: Int, widths: [Int]) -> Int {
    let (floats, overflow) = items.multipliedReportingOverflow(by: widths.reduce(0, +))
    let (bytes, more) = floats.multipliedReportingOverflow(by: 4)
    return overflow || more ? Int.max : bytes
  }

  /// - Parameters:
  ///   - largest: the size in bytes above which a file is used; a value below ``largestInMemory`` is a hard
  ///     limit.
  ///   - folder: the folder of the file, if one is needed.
  /// - Throws: ``GraftError`` if there is neither disk space nor memory.
  init(
    items: Int, widths: [Int], inMemory largest: Int = FeatureStore.largestInMemory,
    folder: String = NSTemporaryDirectory()
  ) throws {
    self.widths = widths
    let bytes = Self.byteCount(items: items, widths: widths)
    guard bytes < Int.max else {
      throw GraftError(.machine, "the features are too large for the address space")
    }
    starts = widths.indices.map { items * widths[..<$0].reduce(0, +) }
    if bytes > largest {
      if let file = Self.makeFile(of: bytes, in: folder) {
        place = .file(file)
        return
      }
      guard largest >= Self.largestInMemory else {
        throw GraftError(
          .machine,
          "not enough disk space for \(bytes.asBytes) of features, nor memory within the limit",
          at: SourceLocation(file: folder), advice: "Set TMPDIR to a folder on a larger disk.")
      }
    }
    guard
      let address = mmap(
        nil, max(bytes, 1), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      address != MAP_FAILED
    else {
      throw GraftError(
        .machine, "not enough memory or disk space for \(bytes.asBytes) of features",
        at: SourceLocation(file: folder), advice: "Set TMPDIR to a folder on a larger disk.")
    }
    place = .memory(
      UnsafeMutableBufferPointer(
        start: address.bindMemory(to: Float.self, capacity: bytes / 4), count: bytes / 4))
  }

  deinit {
    switch place {
    case .memory(let floats): munmap(floats.baseAddress, max(floats.count * 4, 1))
    case .file(let file): close(file)
    }
  }

  /// An unlinked file, which is freed when it is closed. Its space is allocated now, so a full disk fails
  /// here.
  private static func makeFile(of bytes: Int, in folder: String) -> Int32? {
    var template = Array((folder + "/graft-features-XXXXXX").utf8CString)
    let file = mkstemp(&template)
    guard file >= 0 else { return nil }
    _ = fcntl(file, F_SETFD, FD_CLOEXEC)
    unlink(template)
    guard posix_fallocate(file, 0, off_t(bytes)) == 0 else {
      close(file)
      return nil
    }
    return file
  }

  /// Writes the row of one item.
  /// - Throws: ``GraftError`` of kind `inputOutput`.
  func write(_ values: some Collection<Float>, to item: Int, kind: Int) throws {
    let width = widths[kind]
    let start = starts[kind] + item * width
    guard values.count == width else {
      throw GraftError(.inconsistency, "\(values.count) values for a row of \(width)")
    }
    switch place {
    case .memory(let floats):
      _ = UnsafeMutableBufferPointer(rebasing: floats[start..<(start + width)])
        .update(fromContentsOf: values)
    case .file(let file):
      let row = Array(values)
      try row.withUnsafeBytes { bytes in
        try Self.transfer(bytes.count, from: start * 4) { done, position in
          pwrite(file, bytes.baseAddress?.advanced(by: done), bytes.count - done, position)
        }
      }
    }
  }

  private func read(_ item: Int, kind: Int, into buffer: UnsafeMutableBufferPointer<Float>) throws {
    let width = widths[kind]
    let start = starts[kind] + item * width
    switch place {
    case .memory(let floats):
      _ = buffer.update(fromContentsOf: floats[start..<(start + width)])
    case .file(let file):
      let bytes = UnsafeMutableRawBufferPointer(buffer)
      try Self.transfer(bytes.count, from: start * 4) { done, position in
        pread(file, bytes.baseAddress?.advanced(by: done), bytes.count - done, position)
      }
    }
  }

  /// Repeats a read or write that may transfer fewer bytes than requested.
  private static func transfer(
    _ count: Int, from offset: Int, _ call: (_ done: Int, _ position: off_t) -> Int
  ) throws {
    var done = 0
    while done < count {
      let moved = call(done, off_t(offset + done))
      if moved < 0, errno == EINTR { continue }
      guard moved > 0 else {
        throw GraftError(
          .inputOutput, "the file of features: \(String(cString: strerror(errno)))")
      }
      done += moved
    }
  }

  /// The concatenated rows of `items`, one array per kind.
  /// - Throws: ``GraftError`` of kind `inputOutput`.
  func gather(_ items: ArraySlice<Int>) throws -> [[Float]] {
    try widths.indices.map { kind in
      let width = widths[kind]
      return try [Float](unsafeUninitializedCapacity: items.count * width) { buffer, count in
        for (position, item) in items.enumerated() {
          let row = UnsafeMutableBufferPointer(
            rebasing: buffer[(position * width)..<((position + 1) * width)])
          try read(item, kind: kind, into: row)
        }
        count = items.count * width
      }
    }
  }
}
