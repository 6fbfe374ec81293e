// Scans a file before protobuf-c unpacks it, because protobuf-c has unlimited recursion and its structures
// are many times larger than the input. One pass without recursion checks nesting, lengths, field counts and
// strings, and writes a skeleton: the message without weights. Every raw_data is replaced by a reference
// (offset, length) into the file, so weights are neither copied nor read.

import GraftDiagnostics

/// A ModelProto whose tensors' raw_data is 16 bytes of reference each, or empty where it was empty.
struct Skeleton {
  /// The maximum nesting of messages, the same as protobuf's.
  static let deepestNesting = 100
  /// The maximum number of fields; protobuf-c needs up to 300 bytes for each.
  static let largestFieldCount = 4 << 20
  /// More bytes of packed varints: protobuf-c needs eight for each.
  static let largestVarintBytes = 128 << 20
  /// protobuf-c and protobuf count lengths in 31 bits.
  static let largestSize = (2 << 30) - 64

  /// The serialized model without weights, documentation and unknown fields.
  private(set) var bytes: [UInt8] = []
  /// The skipped fields, such as `FunctionProto.11`, that newer versions of ONNX added.
  private(set) var unknownFields: Set<String> = []

  private struct Frame {
    var message: Int
    var end: Int
    /// Where the five bytes of its length stand in the skeleton; nil for the model itself.
    var lengthPosition: Int?
    var seen: UInt32 = 0
  }

  private var reader: WireReader
  private var frames: [Frame]
  private var fieldCount = 0
  private var varintBytes = 0
  /// Whether the file's first field is one of a ModelProto, and of its kind.
  private var startsAsModel = false
  private let fieldLimit: Int
  private let schema = WireSchema.onnx

  /// - Throws: ``GraftError`` of kind `invalidModel` for anything that is not a well-formed
  ///   ModelProto within the limits above.
  init(
    of file: UnsafeRawBufferPointer, fieldLimit: Int = Skeleton.largestFieldCount
  ) throws {
    self.fieldLimit = fieldLimit
    reader = WireReader(file)
    frames = [Frame(message: 0, end: file.count)]
    try FileKind.refuseKnown(file)
    do { try scan() } catch let error as GraftError {
      throw FileKind.explain(error, file, startsAsModel: startsAsModel)
    }
    guard bytes.count <= Self.largestSize else {
      throw GraftError(
        .invalidModel,
        "the model has \(bytes.count) bytes besides raw_data, at most "
          + "\(Self.largestSize) are supported", advice: "Store its weights as raw_data.")
    }
  }

  private mutating func scan() throws {
    while let frame = frames.last {
      if reader.position >= frame.end { close(frame) } else { try scanField(frame) }
    }
  }

  private mutating func close(_ frame: Frame) {
    if let position = frame.lengthPosition {
      var length = bytes.count - position - 5
      // Five bytes hold any length below 32 GiB; padded varints are legal.
      for index in 0..<5 {
        bytes[position + index] = UInt8(length & 0x7F) | (index < 4 ? 0x80 : 0)
        length >>= 7
      }
    }
    frames.removeLast()
  }

  private mutating func scanField(_ frame: Frame) throws {
    let message = schema.messages[frame.message]
    let start = reader.position
    let key = try reader.varint(end: frame.end)
    let number = Int(truncatingIfNeeded: key >> 3)
    guard key <= UInt32.max, number > 0 else {
      throw reader.damaged("field number \(key >> 3) of \(message.name) cannot be")
    }
    fieldCount += 1
    guard fieldCount <= fieldLimit else {
      throw GraftError(
        .invalidModel,
        "the model has more than \(fieldLimit) fields, which no "
          + "convolution network needs")
    }
    let field = message.field(number)
    let what = "\(message.name).\(field?.name ?? String(number))"
    if start == 0 { startsAsModel = field.map { $0.fits(wireType: key & 7) } ?? false }
    switch key & 7 {
    case 0:
      _ = try reader.varint(end: frame.end)
      try copyScalar(field, is: .varint, from: start, what)
    case 1:
      _ = try reader.range(8, end: frame.end, what)
      try copyScalar(field, is: .fixed64, from: start, what)
    case 5:
      _ = try reader.range(4, end: frame.end, what)
      try copyScalar(field, is: .fixed32, from: start, what)
    case 2:
      let length = try reader.varint(end: frame.end)
      let payload = try reader.range(length, end: frame.end, what)
      guard let field else {
        unknownFields.insert(what)
        return
      }
      try copyDelimited(field, payload, from: start, key: key, what)
    default: throw reader.damaged("\(what) has wire type \(key & 7), which does not exist")
    }
    if field == nil { unknownFields.insert(what) }
  }

  private mutating func copyScalar(
    _ field: WireField?, is kind: WireField.Kind, from start: Int, _ what: String
  ) throws {
    guard let field, field.kind != .dropped else { return }
    guard field.kind == kind else { throw reader.damaged("\(what) has the wrong wire type") }
    try markOnce(field, what)
    bytes.append(
      contentsOf: UnsafeRawBufferPointer(rebasing: reader.bytes[start..<reader.position]))
  }

  private mutating func copyDelimited(
    _ field: WireField, _ payload: Range<Int>, from start: Int, key: UInt64, _ what: String
  ) throws {
    let content = UnsafeRawBufferPointer(rebasing: reader.bytes[payload])
    try markOnce(field, what)
    switch field.kind {
    case .dropped: return
    case .rawData:
      // Only empty or 16 bytes, so that no data in the file can be mistaken for a reference.
      appendVarint(key)
      if payload.isEmpty {
        appendVarint(0)
      } else {
        appendVarint(16)
        for word in [payload.lowerBound, payload.count] {
          withUnsafeBytes(of: UInt64(word).littleEndian) { bytes.append(contentsOf: $0) }
        }
      }
      return
    case .message(let child):
      guard frames.count < Self.deepestNesting else {
        throw GraftError(
          .invalidModel,
          "messages are nested more than \(Self.deepestNesting) levels deep "
            + "(at byte \(start), in \(what)); protobuf's own limit is \(Self.deepestNesting)")
      }
      appendVarint(key)
      frames.append(
        Frame(message: child, end: payload.upperBound, lengthPosition: bytes.count))
      bytes.append(contentsOf: [0, 0, 0, 0, 0])
      reader.position = payload.lowerBound
      return
    case .string:
      guard isCleanText(content) else {
        throw GraftError(
          .invalidModel,
          "\(what) at byte \(start) is not a string: it contains a NUL or is not UTF-8")
      }
    case .bytes: break
    case .varint:
      try checkPacked(field, what)
      var inner = WireReader(content)
      while inner.position < content.count { _ = try inner.varint(end: content.count) }
      varintBytes += content.count
      guard varintBytes <= Self.largestVarintBytes else {
        throw GraftError(
          .invalidModel, "the model lists more than \(Self.largestVarintBytes) bytes of integers",
          advice: "Store integer tensors as raw_data.")
      }
    case .fixed32, .fixed64:
      try checkPacked(field, what)
      guard content.count.isMultiple(of: field.kind == .fixed32 ? 4 : 8) else {
        throw reader.damaged("\(what) has \(content.count) bytes, not a whole number of elements")
      }
    }
    bytes.append(
      contentsOf: UnsafeRawBufferPointer(rebasing: reader.bytes[start..<reader.position]))
  }

  private func checkPacked(_ field: WireField, _ what: String) throws {
    guard field.isRepeated else { throw reader.damaged("\(what) has the wrong wire type") }
  }

  private mutating func markOnce(_ field: WireField, _ what: String) throws {
    guard field.onceBit != 0 else { return }
    guard frames[frames.count - 1].seen & field.onceBit == 0 else {
      throw reader.damaged("\(what) occurs twice")
    }
    frames[frames.count - 1].seen |= field.onceBit
  }

  private mutating func appendVarint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(rest & 0x7F) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  private func isCleanText(_ text: UnsafeRawBufferPointer) -> Bool {
    if text.allSatisfy({ $0 != 0 && $0 < 0x80 }) { return true }
    return !text.contains(0) && String(validating: text, as: UTF8.self) != nil
  }
}
