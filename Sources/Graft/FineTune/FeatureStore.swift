// The values at the freeze line, kept for every image, so that the frozen trunk runs once. In memory, or,
// where they are many, in a mapped file that has no name.

import Foundation
import GraftData
import GraftDiagnostics

/// Rows of floats for a number of items; several kinds of rows where several values cross the line.
final class FeatureStore {
  /// Floats of one item of each kind.
  let widths: [Int]
  private let rows: [UnsafeMutableBufferPointer<Float>]
  private let mapping: UnsafeMutableRawBufferPointer

  /// More than this goes into a file.
  static let largestInMemory = 2 << 30

  static func byteCount(items: Int, widths: [Int]) -> Int {
    let (floats, overflow) = items.multipliedReportingOverflow(by: widths.reduce(0, +))
    let (bytes, more) = floats.multipliedReportingOverflow(by: 4)
    return overflow || more ? Int.max : bytes
  }

  /// - Parameter folder: where a file is made, if one is needed.
  /// - Throws: ``GraftError`` where there is no room.
  init(items: Int, widths: [Int], folder: String = NSTemporaryDirectory()) throws {
    self.widths = widths
    let bytes = Self.byteCount(items: items, widths: widths)
    guard bytes < Int.max else { throw GraftError(.machine, "the features do not fit") }
    mapping = try Self.map(max(bytes, 1), folder: folder)
    let all = mapping.bindMemory(to: Float.self)
    var start = 0
    rows = widths.map { width in
      defer { start += width * items }
      return UnsafeMutableBufferPointer(rebasing: all[start..<(start + width * items)])
    }
  }

  deinit { munmap(mapping.baseAddress, mapping.count) }

  private static func map(_ bytes: Int, folder: String) throws -> UnsafeMutableRawBufferPointer {
    var file: Int32 = -1
    if bytes > largestInMemory {
      var template = Array((folder + "/graft-features-XXXXXX").utf8CString)
      file = mkstemp(&template)
      if file >= 0 { _ = fcntl(file, F_SETFD, FD_CLOEXEC) }
      guard file >= 0 else {
        throw GraftError(.inputOutput, "cannot make a file for features", at: .init(file: folder))
      }
      unlink(template)
      // Room is taken now: a full disk is told here, not by a signal later.
      guard posix_fallocate(file, 0, off_t(bytes)) == 0 else {
        close(file)
        throw GraftError(
          .inputOutput, "there is no room for \(bytes) bytes of features", at: .init(file: folder),
          advice: "Set TMPDIR to a folder on a larger disk.")
      }
    }
    defer { if file >= 0 { close(file) } }
    let flags = file >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS
    guard
      let address = mmap(nil, bytes, PROT_READ | PROT_WRITE, flags, file, 0), address != MAP_FAILED
    else { throw GraftError(.machine, "there is no memory for \(bytes) bytes of features") }
    return UnsafeMutableRawBufferPointer(start: address, count: bytes)
  }

  /// The row of one item.
  func row(_ item: Int, kind: Int) -> UnsafeMutableBufferPointer<Float> {
    let width = widths[kind]
    return UnsafeMutableBufferPointer(
      rebasing: rows[kind][(item * width)..<((item + 1) * width)])
  }

  /// The rows of `items` one after the other, an array for each kind.
  func gather(_ items: ArraySlice<Int>) -> [[Float]] {
    widths.indices.map { kind in
      let width = widths[kind]
      return [Float](unsafeUninitializedCapacity: items.count * width) { buffer, initialized in
        for (position, item) in items.enumerated() {
          let to = UnsafeMutableBufferPointer(
            rebasing: buffer[(position * width)..<((position + 1) * width)])
          _ = to.update(fromContentsOf: row(item, kind: kind))
        }
        initialized = items.count * width
      }
    }
  }
}
