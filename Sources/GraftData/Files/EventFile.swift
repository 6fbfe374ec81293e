// TensorBoard's event files: protobuf messages (Sources/CTensorBoard/tensorboard.proto) in TFRecord's
// framing.

import CTensorBoard
import Foundation
import GraftDiagnostics

/// A TensorBoard event file that can be read while it is being written.
public final class EventFile {
  private let file: OutputFile

  /// Creates a file in `folder`, which is created if it is missing. TensorBoard shows the files of one folder
  /// as one run.
  /// - Parameter time: seconds since 1970, which are in the file's name.
  /// - Throws: ``GraftError`` of kind `inputOutput`.
  public convenience init(in folder: String, time: Double) throws {
    try makeFolder(folder)
    var name = Self.name(time: time)
    // A second run within the same second.
    while FileManager.default.fileExists(atPath: folder + "/" + name) { name += ".1" }
    try self.init(folder + "/" + name, time: time)
  }

  /// Makes the file at `path`, which must not exist yet.
  public init(_ path: String, time: Double) throws {
    file = try OutputFile(path)
    try write(Self.record(Self.versionEvent(time: time)))
  }

  /// The name of a file started at `time`. TensorBoard reads every file whose name contains `tfevents`, in
  /// the order of their names.
  public static func name(time: Double) -> String {
    let seconds = String(Int(max(0, min(time, 1e10)).rounded(.down)))
    let zeros = String(repeating: "0", count: max(0, 10 - seconds.count))
    return "events.out.tfevents.\(zeros)\(seconds).graft"
  }

  /// Adds scalars of one step. They are in the file when this returns.
  public func add(_ scalars: [(tag: String, value: Double)], step: Int, time: Double) throws {
    var bytes: [UInt8] = []
    for scalar in scalars {
      bytes += Self.record(
        Self.scalarEvent(scalar.tag, Float(scalar.value), step: step, time: time))
    }
    try write(bytes)
  }

  /// Waits until the file is on the disk, and closes it.
  public func close() throws { try file.close() }

  private func write(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try file.write($0) } }

  // MARK: Records

  /// TFRecord's framing: the length, its masked checksum, the bytes, their masked checksum, integers
  /// little-endian.
  static func record(_ bytes: [UInt8]) -> [UInt8] {
    let length = littleEndian(UInt64(bytes.count))
    return length + littleEndian(maskedChecksum(length)) + bytes
      + littleEndian(maskedChecksum(bytes))
  }

  /// CRC-32C (Castagnoli's polynomial, RFC 3720) rotated right by 15 bits plus a constant, as TFRecord
  /// defines it.
  static func maskedChecksum(_ bytes: [UInt8]) -> UInt32 {
    let sum = checksum(bytes)
    return (sum >> 15 | sum << 17) &+ 0xa282_ead8
  }

  static func checksum(_ bytes: [UInt8]) -> UInt32 {
    ~bytes.reduce(~0) { remainder, byte in
      remainder >> 8 ^ castagnoli[Int(UInt8(truncatingIfNeeded: remainder) ^ byte)]
    }
  }

  /// The CRC table of all bytes, with the bit-reversed polynomial. None of the linked libraries has this
  /// checksum.
  private static let castagnoli: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { remainder, _ in
      remainder >> 1 ^ (remainder & 1 == 1 ? 0x82f6_3b78 : 0)
    }
  }

  private static func littleEndian(_ number: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: number.littleEndian, Array.init)
  }

  // MARK: Messages

  static func versionEvent(time: Double) -> [UInt8] {
    var event = CTensorBoard__Event()
    ctensor_board__event__init(&event)
    event.wall_time = time
    event.what_case = CTENSOR_BOARD__EVENT__WHAT_FILE_VERSION
    return "brain.Event:2".withCString {
      event.file_version = UnsafeMutablePointer(mutating: $0)
      return packed(&event)
    }
  }

  static func scalarEvent(_ tag: String, _ number: Float, step: Int, time: Double) -> [UInt8] {
    var value = CTensorBoard__Summary__Value()
    ctensor_board__summary__value__init(&value)
    value.value_case = CTENSOR_BOARD__SUMMARY__VALUE__VALUE_SIMPLE_VALUE
    value.simple_value = number
    var summary = CTensorBoard__Summary()
    ctensor_board__summary__init(&summary)
    summary.n_value = 1
    var event = CTensorBoard__Event()
    ctensor_board__event__init(&event)
    event.wall_time = time
    event.step = Int64(step)
    event.what_case = CTENSOR_BOARD__EVENT__WHAT_SUMMARY
    return tag.withCString { tag in
      value.tag = UnsafeMutablePointer(mutating: tag)
      return withUnsafeMutablePointer(to: &value) { value in
        var values: UnsafeMutablePointer<CTensorBoard__Summary__Value>? = value
        return withUnsafeMutablePointer(to: &values) { values in
          summary.value = values
          return withUnsafeMutablePointer(to: &summary) {
            event.summary = $0
            return packed(&event)
          }
        }
      }
    }
  }

  private static func packed(_ event: inout CTensorBoard__Event) -> [UInt8] {
    let size = ctensor_board__event__get_packed_size(&event)
    return [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
      count = ctensor_board__event__pack(&event, buffer.baseAddress)
    }
  }
}
