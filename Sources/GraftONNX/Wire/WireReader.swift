// A cursor over protobuf's wire format that checks every step against the end of what it reads.

import GraftDiagnostics

/// Reads varints and ranges; a step past the end of the file says that the file is truncated.
struct WireReader {
  let bytes: UnsafeRawBufferPointer
  var position = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  func damaged(_ message: String) -> GraftError {
    GraftError(.invalidModel, "the file is damaged: \(message), at byte \(position)")
  }

  /// The error for a file that ends too early.
  func truncated(_ what: String, needs: UInt64, has: Int) -> GraftError {
    GraftError(
      .invalidModel,
      "the file is truncated: \(what) needs \(needs) bytes at byte \(position), "
        + "but the file has only \(has) more",
      advice: "Download or export it again; the copy is incomplete.")
  }

  /// A base-128 varint that ends before `end`.
  mutating func varint(end: Int) throws -> UInt64 {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while true {
      guard position < end else {
        throw end == bytes.count
          ? truncated("an integer", needs: 1, has: 0) : damaged("an integer exceeds its message")
      }
      let byte = bytes[position]
      position += 1
      value |= UInt64(byte & 0x7F) << shift
      if byte & 0x80 == 0 { return value }
      shift += 7
      guard shift < 70 else { throw damaged("an integer is longer than ten bytes") }
    }
  }

  /// The range of the next `length` bytes, which must end before `end`.
  mutating func range(_ length: UInt64, end: Int, _ what: @autoclosure () -> String) throws
    -> Range<Int>
  {
    guard length <= UInt64(end - position) else {
      if length > UInt64(bytes.count - position) {
        throw truncated(what(), needs: length, has: bytes.count - position)
      }
      throw damaged("\(what()) says \(length) bytes, \(end - position) are left in its message")
    }
    let start = position
    position += Int(length)
    return start..<position
  }
}
