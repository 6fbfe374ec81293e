// Rows of values per item, such as those at the freeze line, so that the frozen layers run only once. Stored
// in memory, or in an unnamed temporary file if they are large.

import Foundation
import GraftData
import GraftDiagnostics

/// A kind of row of a ``FeatureStore``.
struct RowForm {
  /// Floats per row.
  let width: Int
  /// How each float is stored in a byte; nil stores it as it is.
  var coding: ByteCoding?

  /// Bytes of a stored row.
  var byteCount: Int { coding == nil ? 4 * width : width }
}

/// Rows of floats for a number of items; one kind of row per value at the freeze line, and a last one with the
/// targets where items have many (``FineTuningPlan/targetWidth``).
final class FeatureStore {
  /// The kinds of rows of an item.
  let forms: [RowForm]
  /// The offset of the rows of each kind, in bytes.
  private let starts: [Int]
  private let place: Place

  private enum Place {
    case memory(UnsafeMutableRawBufferPointer)
    /// Rows are read and written, not mapped, so that the page cache does not count as memory of this
    /// process.
    case file(Int32)
  }

  /// The maximum size in memory, in bytes; larger stores use a file if there is disk space.
  static let largestInMemory = 64 << 20

  static func byteCount(items: Int, forms: [RowForm]) -> Int {
    let (bytes, overflow) = items.multipliedReportingOverflow(
      by: forms.reduce(0) { $0 + $1.byteCount })
    return overflow ? Int.max : bytes
  }

  /// - Parameters:
  ///   - largest: the size in bytes above which a file is used; a value below ``largestInMemory`` is a hard
  ///     limit.
  ///   - folder: the folder of the file, if one is needed.
  /// - Throws: ``GraftError`` if there is neither disk space nor memory.
  init(
    items: Int, forms: [RowForm], inMemory largest: Int = FeatureStore.largestInMemory,
    folder: String = NSTemporaryDirectory()
  ) throws {
    self.forms = forms
    let bytes = Self.byteCount(items: items, forms: forms)
    guard bytes < Int.max else {
      throw GraftError(.machine, "the features are too large for the address space")
    }
    // Floats first, so that their rows are aligned.
    var starts = forms.map { _ in 0 }
    var end = 0
    for isCoded in [false, true] {
      for (kind, form) in forms.enumerated() where (form.coding != nil) == isCoded {
        starts[kind] = end
        end += items * form.byteCount
      }
    }
    self.starts = starts
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
    place = .memory(UnsafeMutableRawBufferPointer(start: address, count: bytes))
  }

  deinit {
    switch place {
    case .memory(let bytes): munmap(bytes.baseAddress, max(bytes.count, 1))
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
  func write(_ values: ArraySlice<Float>, to item: Int, kind: Int) throws {
    let form = forms[kind]
    guard values.count == form.width else {
      throw GraftError(.inconsistency, "\(values.count) values for a row of \(form.width)")
    }
    try values.withUnsafeBufferPointer { values in
      guard let coding = form.coding else {
        return try write(UnsafeRawBufferPointer(values), to: item, kind: kind)
      }
      try withUnsafeTemporaryAllocation(of: UInt8.self, capacity: form.width) { bytes in
        try coding.encode(values, into: bytes)
        try write(UnsafeRawBufferPointer(bytes), to: item, kind: kind)
      }
    }
  }

  private func write(_ row: UnsafeRawBufferPointer, to item: Int, kind: Int) throws {
    let start = starts[kind] + item * row.count
    switch place {
    case .memory(let bytes):
      UnsafeMutableRawBufferPointer(rebasing: bytes[start..<(start + row.count)])
        .copyMemory(from: row)
    case .file(let file):
      try Self.transfer(row.count, from: start) { done, position in
        pwrite(file, row.baseAddress?.advanced(by: done), row.count - done, position)
      }
    }
  }

  private func read(
    _ item: Int, kind: Int, into buffer: UnsafeMutableBufferPointer<Float>
  ) throws {
    guard let coding = forms[kind].coding else {
      return try read(item, kind: kind, into: UnsafeMutableRawBufferPointer(buffer))
    }
    try withUnsafeTemporaryAllocation(of: UInt8.self, capacity: buffer.count) { bytes in
      try read(item, kind: kind, into: UnsafeMutableRawBufferPointer(bytes))
      coding.decode(UnsafeBufferPointer(bytes), into: buffer)
    }
  }

  private func read(_ item: Int, kind: Int, into row: UnsafeMutableRawBufferPointer) throws {
    let start = starts[kind] + item * row.count
    switch place {
    case .memory(let bytes):
      row.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[start..<(start + row.count)]))
    case .file(let file):
      try Self.transfer(row.count, from: start) { done, position in
        pread(file, row.baseAddress?.advanced(by: done), row.count - done, position)
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
    try forms.enumerated().map { kind, form in
      let width = form.width
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
