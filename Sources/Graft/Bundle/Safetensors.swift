// The safetensors container: a length, a JSON header, then the tensors' bytes without gaps. Format:
// https://huggingface.co/docs/safetensors. Implemented here because no Swift library for it is maintained; a
// test opens the result with PyPI's safetensors.

import Foundation
import GraftData
import GraftDiagnostics
import GraftIR

/// Reads and writes safetensors files.
package enum Safetensors {
  /// One tensor in the header.
  private struct Entry: Codable {
    var dtype: String
    var shape: [Int]
    var dataOffsets: [Int]
    enum CodingKeys: String, CodingKey {
      case dtype, shape
      case dataOffsets = "data_offsets"
    }
  }

  /// The header of a file to read: tensors by name, and metadata.
  private struct Header: Decodable {
    private struct Name: CodingKey {
      var stringValue: String
      var intValue: Int? { nil }
      init(stringValue: String) { self.stringValue = stringValue }
      init?(intValue: Int) { nil }
    }

    var entries: [String: Entry] = [:]
    var metadata: [String: String] = [:]

    init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: Name.self)
      for name in container.allKeys {
        if name.stringValue == metadataKey {
          metadata = try container.decode([String: String].self, forKey: name)
        } else {
          entries[name.stringValue] = try container.decode(Entry.self, forKey: name)
        }
      }
    }
  }

  private static let names: [DataType: String] = [
    .float64: "F64", .float32: "F32", .float16: "F16", .bfloat16: "BF16", .int64: "I64",
    .int32: "I32", .int16: "I16", .int8: "I8", .uint64: "U64", .uint32: "U32", .uint16: "U16",
    .uint8: "U8", .bool: "BOOL",
  ]

  private static let types = Dictionary(uniqueKeysWithValues: names.map { ($0.value, $0.key) })

  /// The format's limit on the header, in bytes.
  private static let largestHeader = 100_000_000

  /// The reserved key of the format's metadata.
  private static let metadataKey = "__metadata__"

  /// The alignment of the first tensor in bytes. Wider types come first, so every tensor is aligned to its
  /// element.
  private static let alignment = 64

  /// Writes the tensors to a new file at `path`.
  /// - Throws: ``GraftError`` for a reserved name, or if the file cannot be written.
  static func write(_ tensors: [(name: String, data: TensorData)], to path: String) throws {
    let ordered = tensors.enumerated().sorted {
      ($1.element.data.dtype.byteCount, $0.offset) < ($0.element.data.dtype.byteCount, $1.offset)
    }.map(\.element)
    var header: [String: Entry] = [:]
    var offset = 0
    for (name, data) in ordered {
      guard name != metadataKey, let type = names[data.dtype], header[name] == nil else {
        throw GraftError(
          .unsupported, "a bundle cannot have a parameter named \(name.quotedForDisplay)")
      }
      header[name] = Entry(
        dtype: type, shape: data.shape, dataOffsets: [offset, offset + data.byteCount])
      offset += data.byteCount
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    var text = try encoder.encode(header)
    let padding = (alignment - (text.count + 8) % alignment) % alignment
    text.append(Data(repeating: 0x20, count: padding))

    let file = try OutputFile(path)
    try withUnsafeBytes(of: UInt64(text.count).littleEndian) { try file.write($0) }
    try text.withUnsafeBytes { try file.write($0) }
    for (_, data) in ordered {
      try data.withUnsafeBytes { try file.write($0) }
      if data.byteCount > 1 << 20 { data.releasePages() }
    }
    try file.close()
  }

  /// The metadata of the file at `path`; empty if it has none.
  /// - Throws: ``GraftError`` of kind `invalidBundle` if its header is damaged.
  package static func metadata(of path: String) throws -> [String: String] {
    try header(of: MappedFile(path, following: false), at: path).header.metadata
  }

  /// The header of a file, and where the tensors start.
  private static func header(
    of file: MappedFile, at path: String
  ) throws -> (header: Header, start: Int) {
    func damaged(_ message: String) -> GraftError {
      GraftError(.invalidBundle, message, at: SourceLocation(file: path))
    }
    guard file.count >= 8 else {
      throw damaged("it is shorter than 8 bytes, the length of its header size")
    }
    let length = file.withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self)) }
    guard length <= UInt64(min(largestHeader, file.count - 8)) else {
      throw damaged("its header claims \(length) bytes, the file has \(file.count - 8)")
    }
    let start = 8 + Int(length)
    let text = file.withUnsafeBytes { Data($0[8..<start]) }
    do { return (try JSONDecoder().decode(Header.self, from: text), start) } catch {
      throw damaged("its header is not valid JSON that describes tensors")
    }
  }

  /// The tensors of the file at `path`, by reference into its mapping.
  /// - Throws: ``GraftError`` of kind `invalidBundle` that names the file and what is wrong with it.
  static func read(_ path: String) throws -> [String: TensorData] {
    func damaged(_ message: String) -> GraftError {
      GraftError(.invalidBundle, message, at: SourceLocation(file: path))
    }
    let file = try MappedFile(path, following: false)
    let (found, start) = try header(of: file, at: path)
    let header = found.entries
    var tensors: [String: TensorData] = [:]
    var ranges: [(range: Range<Int>, name: String)] = []
    for (name, entry) in header {
      guard let type = types[entry.dtype], entry.dataOffsets.count == 2,
        let low = entry.dataOffsets.first, let high = entry.dataOffsets.last, low >= 0, low <= high,
        high <= file.count - start, entry.shape.allSatisfy({ $0 >= 0 })
      else { throw damaged("tensor \(name.quotedForDisplay) is outside the file") }
      do {
        tensors[name] = try TensorData(
          type, entry.shape, in: file, range: (start + low)..<(start + high))
        ranges.append((low..<high, name))
      } catch let error as GraftError {
        throw damaged("tensor \(name.quotedForDisplay): \(error.message)")
      }
    }
    if let problem = gap(between: ranges, in: file.count - start) { throw damaged(problem) }
    return tensors
  }

  /// A description of the first gap or overlap between tensors, which the format forbids.
  private static func gap(
    between ranges: [(range: Range<Int>, name: String)], in bytes: Int
  ) -> String? {
    var end = 0
    let ordered = ranges.sorted {
      ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
    }
    for (range, name) in ordered {
      if range.lowerBound < end { return "tensor \(name.quotedForDisplay) overlaps another" }
      if range.lowerBound > end {
        return "\(range.lowerBound - end) bytes before tensor "
          + "\(name.quotedForDisplay) belong to no tensor"
      }
      end = range.upperBound
    }
    return end == bytes ? nil : "\(bytes - end) bytes after its last tensor belong to no tensor"
  }
}
