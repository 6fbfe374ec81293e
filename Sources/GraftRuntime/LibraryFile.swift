// Validation of a library file before it is loaded: the loader trusts its headers, and wrong ones end the
// process with a signal. Nothing is executed here. Format: System V ABI, chapters 4 and 5 (ELF, program
// loading, dynamic linking), 64-bit little-endian.

import Foundation
import GraftDiagnostics
import GraftIR

/// The headers of a shared library, checked against each other and the length of the file.
///
/// Segments are what the loader maps, sections are the linker's description of the same bytes; corruption in
/// one disagrees with the other. So both are required, though loading needs only segments.
public struct LibraryFile {
  let file: MappedFile
  let path: String
  private(set) var segments: [Segment] = []
  private(set) var sections: [Section] = []
  /// The machine architecture (`e_machine` of the ELF header).
  public private(set) var machine: UInt16 = 0

  /// x86-64 and 64-bit Arm.
  public static let machineX8664: UInt16 = 62
  public static let machineAArch64: UInt16 = 183

  struct Segment {
    static let loaded: UInt32 = 1
    static let dynamic: UInt32 = 2
    var type: UInt32
    var isExecutable: Bool
    var isWritable: Bool
    var isReadable: Bool
    var offset: UInt64
    var address: UInt64
    var fileBytes: UInt64
    var memoryBytes: UInt64
    var alignment: UInt64
  }

  struct Section {
    static let withoutBytes: UInt32 = 8
    var type: UInt32
    var isLoaded: Bool
    var isExecutable: Bool
    var isWritable: Bool
    var isThreadLocal: Bool
    var address: UInt64
    var offset: UInt64
    var bytes: UInt64
    var information: UInt32
  }

  /// - Throws: ``GraftError`` of kind `invalidBundle` that names the file and what is wrong with it.
  public init(checking path: String) throws {
    self.path = path
    file = try MappedFile(path)
    do {
      try readHeaders()
      try checkSegments()
      try checkSections()
      try checkDynamic()
    } catch {
      // The missing part of a file that was just truncated reads as zeros.
      try MappedFile.checkNoneWasCut()
      throw error
    }
  }

  /// How many times the file contains these bytes.
  public func count(of bytes: [UInt8]) -> Int {
    file.withUnsafeBytes { (whole: UnsafeRawBufferPointer) -> Int in
      var count = 0
      guard let first = bytes.first, let start = whole.baseAddress else { return count }
      var position = 0
      while position + bytes.count <= whole.count,
        let found = memchr(start + position, Int32(first), whole.count - position)
      {
        let candidate = UnsafeRawPointer(found)
        guard start + whole.count - candidate >= bytes.count else { break }
        if memcmp(candidate, bytes, bytes.count) == 0 { count += 1 }
        position = candidate - start + 1
      }
      return count
    }
  }

  func damaged(_ message: String) -> GraftError {
    GraftError(
      .invalidBundle, "is damaged: \(message)", at: SourceLocation(file: path),
      advice: "Recompile the model.")
  }

  /// The number of type `Number` at a byte of the file.
  func number<Number: FixedWidthInteger & BitwiseCopyable>(
    _: Number.Type, at offset: UInt64
  ) throws -> Number {
    guard offset <= UInt64(file.count),
      UInt64(file.count) - offset >= UInt64(MemoryLayout<Number>.size)
    else { throw damaged("it has \(file.count) bytes, and its headers go on beyond them") }
    return file.withUnsafeBytes {
      Number(littleEndian: $0.loadUnaligned(fromByteOffset: Int(offset), as: Number.self))
    }
  }

  private func isInFile(_ offset: UInt64, _ bytes: UInt64) -> Bool {
    offset <= UInt64(file.count) && bytes <= UInt64(file.count) - offset
  }

  // MARK: Headers

  private mutating func readHeaders() throws {
    let identification: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]
    guard file.count >= 64,
      file.withUnsafeBytes({ Array($0.prefix(identification.count)) }) == identification
    else { throw damaged("it is not a 64-bit ELF file") }
    guard try number(UInt16.self, at: 16) == 3 else { throw damaged("it is not a shared library") }
    machine = try number(UInt16.self, at: 18)
    let (segmentStart, sectionStart) = (
      try number(UInt64.self, at: 32), try number(UInt64.self, at: 40)
    )
    let (segmentCount, sectionCount) = (
      try number(UInt16.self, at: 56), try number(UInt16.self, at: 60)
    )
    guard try number(UInt32.self, at: 20) == 1, try number(UInt16.self, at: 52) == 64,
      try number(UInt16.self, at: 54) == 56, try number(UInt16.self, at: 58) == 64,
      (1...64).contains(segmentCount), (1...4096).contains(sectionCount)
    else { throw damaged("its ELF header is not as linkers write it") }
    guard isInFile(segmentStart, 56 * UInt64(segmentCount)),
      isInFile(sectionStart, 64 * UInt64(sectionCount))
    else {
      throw damaged(
        "it has \(file.count) bytes, and its tables of segments and sections lie beyond")
    }
    segments = try (0..<UInt64(segmentCount)).map { try segment(at: segmentStart + 56 * $0) }
    sections = try (0..<UInt64(sectionCount)).map { try section(at: sectionStart + 64 * $0) }
  }

  private func segment(at start: UInt64) throws -> Segment {
    let flags = try number(UInt32.self, at: start + 4)
    return Segment(
      type: try number(UInt32.self, at: start), isExecutable: flags & 1 != 0,
      isWritable: flags & 2 != 0, isReadable: flags & 4 != 0,
      offset: try number(UInt64.self, at: start + 8),
      address: try number(UInt64.self, at: start + 16),
      fileBytes: try number(UInt64.self, at: start + 32),
      memoryBytes: try number(UInt64.self, at: start + 40),
      alignment: try number(UInt64.self, at: start + 48))
  }

  private func section(at start: UInt64) throws -> Section {
    let flags = try number(UInt64.self, at: start + 8)
    return Section(
      type: try number(UInt32.self, at: start + 4), isLoaded: flags & 2 != 0,
      isExecutable: flags & 4 != 0, isWritable: flags & 1 != 0, isThreadLocal: flags & 0x400 != 0,
      address: try number(UInt64.self, at: start + 16),
      offset: try number(UInt64.self, at: start + 24),
      bytes: try number(UInt64.self, at: start + 32),
      information: try number(UInt32.self, at: start + 44))
  }

  // MARK: Segments and sections

  private static let largestAddress: UInt64 = 1 << 40

  private func checkSegments() throws {
    var end: UInt64 = 0
    for segment in segments where segment.type == Segment.loaded {
      guard isInFile(segment.offset, segment.fileBytes) else {
        throw damaged(
          "it has \(file.count) bytes, and a segment of \(segment.fileBytes) bytes at "
            + "\(segment.offset) lies beyond")
      }
      guard segment.fileBytes <= segment.memoryBytes, segment.isReadable,
        !(segment.isWritable && segment.isExecutable),
        segment.address >= end, segment.address < Self.largestAddress,
        segment.memoryBytes < Self.largestAddress,
        segment.alignment.nonzeroBitCount == 1, (0x1000...0x20_0000).contains(segment.alignment),
        (segment.address &- segment.offset) % segment.alignment == 0
      else { throw damaged("a segment is not as linkers write it") }
      end = segment.address + segment.memoryBytes
    }
    for segment in segments where segment.type != Segment.loaded {
      try checkPart(segment)
    }
  }

  /// Checks a segment that must be inside a loaded segment or has no bytes.
  private func checkPart(_ segment: Segment) throws {
    switch segment.type {
    case 0: return
    case 0x6474_e551:  // PT_GNU_STACK: its flags alone matter.
      guard !segment.isExecutable, segment.memoryBytes == 0 else {
        throw damaged("it asks for a stack that may be executed")
      }
    case Segment.dynamic, 4, 6, 7, 0x6474_e550, 0x6474_e552, 0x6474_e553:
      let isInside = segments.contains { loaded in
        loaded.type == Segment.loaded && segment.address >= loaded.address
          && segment.offset >= loaded.offset
          && segment.address - loaded.address == segment.offset - loaded.offset
          && segment.memoryBytes <= loaded.memoryBytes
          && segment.address - loaded.address <= loaded.memoryBytes - segment.memoryBytes
          && segment.fileBytes <= segment.memoryBytes
      }
      let mostAligned: UInt64 = segment.type == 0x6474_e552 ? 0x20_0000 : 4096
      guard isInside, segment.alignment <= mostAligned else {
        throw damaged("a segment lies outside those that are loaded")
      }
    default:
      throw damaged("it has a segment of the unknown kind \(segment.type)")
    }
  }

  private func checkSections() throws {
    let loaded = segments.filter { $0.type == Segment.loaded }
    for section in sections where section.isLoaded && !section.isThreadLocal && section.bytes > 0 {
      let hasBytes = section.type != Section.withoutBytes
      let holder = loaded.first { segment in
        section.address >= segment.address
          && section.address - segment.address <= segment.memoryBytes
          && section.bytes <= segment.memoryBytes - (section.address - segment.address)
      }
      guard let holder, holder.isExecutable == section.isExecutable || !section.isExecutable,
        !section.isWritable || holder.isWritable
      else { throw damaged("a section lies outside the segments that are loaded") }
      let position = section.address - holder.address
      guard
        !hasBytes
          || (section.offset >= holder.offset && section.offset - holder.offset == position
            && position <= holder.fileBytes && section.bytes <= holder.fileBytes - position)
      else { throw damaged("a section lies elsewhere than its segment says") }
    }
    for segment in loaded where segment.isExecutable {
      guard sections.contains(where: { $0.isExecutable && contains(segment, $0.address) }) else {
        throw damaged("a segment that may be executed holds no code")
      }
    }
  }

  private func contains(_ segment: Segment, _ address: UInt64) -> Bool {
    address >= segment.address && address - segment.address < segment.memoryBytes
  }
}
