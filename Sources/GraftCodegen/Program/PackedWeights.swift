// The contents of packed.bin: sections in the order in which the network reads them, generated while writing,
// so that the weights are not in memory twice.

import GraftDiagnostics
import GraftIR

/// Floats to be filled in later, at a known offset.
struct PackedSection {
  /// Bytes from the start of the payload.
  var offset: Int
  var floatCount: Int
  /// Fills zeroed memory of `floatCount` floats.
  var fill: (UnsafeMutableBufferPointer<Float>) throws -> Void
}

/// What a bundle's packed.bin holds.
public struct PackedWeights {
  /// Sections begin on a cache line.
  static let alignment = 64
  /// Bytes before the payload; GRAFT_PACKED_HEADER of the runtime.
  static let headerBytes = 64
  static let version: UInt32 = 1

  private(set) var sections: [PackedSection] = []
  private(set) var payloadBytes = 0
  private var offsets: [SectionKey: Int] = [:]
  /// Set when everything else is known; the same bytes stand in the library.
  var buildID: [UInt8] = []

  /// The key of a section, so that layers and programs with a common parameter share its packed form.
  private struct SectionKey: Hashable {
    var parameters: [[UInt8]]
    var form: String
  }

  /// The size of packed.bin.
  public var byteCount: Int { Self.headerBytes + payloadBytes }

  /// Reserves room for `floatCount` floats unless an equal section is there already.
  /// - Parameters:
  ///   - parameters: the identities of what is packed: ``ParameterIdentities``.
  ///   - form: what else determines the section.
  /// - Returns: the byte offset in the payload.
  mutating func add(
    _ parameters: [[UInt8]], form: String, floatCount: Int,
    fill: @escaping (UnsafeMutableBufferPointer<Float>) throws -> Void
  ) -> Int {
    let key = SectionKey(parameters: parameters, form: form)
    if let present = offsets[key] { return present }
    let offset = payloadBytes
    sections.append(PackedSection(offset: offset, floatCount: floatCount, fill: fill))
    let bytes = floatCount * MemoryLayout<Float>.size
    payloadBytes += (bytes + Self.alignment - 1) / Self.alignment * Self.alignment
    offsets[key] = offset
    return offset
  }

  /// Reserves room for `byteCount` bytes of any element type, likewise.
  mutating func add(
    _ parameters: [[UInt8]], form: String, byteCount: Int,
    fill: @escaping (UnsafeMutableRawBufferPointer) throws -> Void
  ) -> Int {
    let size = MemoryLayout<Float>.size
    return add(parameters, form: form, floatCount: (byteCount + size - 1) / size) { floats in
      let bytes = UnsafeMutableRawBufferPointer(floats)
      try fill(UnsafeMutableRawBufferPointer(rebasing: bytes[..<byteCount]))
    }
  }

  /// Streams packed.bin, header first, in pieces.
  ///
  /// - Throws: what `write` throws, and ``GraftError`` where a parameter has no data.
  public func write(to write: (UnsafeRawBufferPointer) throws -> Void) throws {
    var header: [UInt8] = Array("GRAFTPK\n".utf8)
    withUnsafeBytes(of: Self.version.littleEndian) { header += $0 }
    header += [0, 0, 0, 0] + buildID
    header += Array(repeating: 0, count: max(0, Self.headerBytes - header.count))
    try header.withUnsafeBytes(write)
    for section in sections {
      let padded =
        (section.floatCount * 4 + Self.alignment - 1) / Self.alignment * Self.alignment / 4
      let floats = UnsafeMutableBufferPointer<Float>.allocate(capacity: padded)
      defer { floats.deallocate() }
      floats.initialize(repeating: 0)
      try section.fill(UnsafeMutableBufferPointer(rebasing: floats[0..<section.floatCount]))
      try write(UnsafeRawBufferPointer(floats))
    }
  }
}
