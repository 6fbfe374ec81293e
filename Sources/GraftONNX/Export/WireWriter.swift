// protobuf's wire format, written. Messages are built innermost first, so that their lengths are
// known; the numbers of the fields that the exporter writes are listed here by name.

/// The numbers of fields in onnx.proto.
enum FieldNumber {
  enum Model {
    static let irVersion = 1, producerName = 2, producerVersion = 3, graph = 7, opsetImport = 8
  }
  enum OperatorSet { static let version = 2 }
  enum Graph {
    static let node = 1, name = 2, initializer = 5, input = 11, output = 12
  }
  enum Node {
    static let input = 1, output = 2, name = 3, opType = 4, attribute = 5
  }
  enum Attribute {
    static let name = 1, float = 2, int = 3, string = 4, tensor = 5, floats = 7, ints = 8
    static let strings = 9, type = 20
  }
  enum Tensor { static let dims = 1, dataType = 2, name = 8, rawData = 9 }
  enum ValueInfo { static let name = 1, type = 2 }
  enum Kind { static let tensor = 1 }
  enum TensorKind { static let elementType = 1, shape = 2 }
  enum Shape { static let dimension = 1 }
  enum Dimension { static let value = 1, parameter = 2 }
}

/// One message under construction.
struct WireWriter {
  private(set) var bytes: [UInt8] = []

  mutating func integer(_ field: Int, _ value: Int) {
    varint(UInt64(field) << 3)
    varint(UInt64(bitPattern: Int64(value)))
  }

  mutating func float(_ field: Int, _ value: Float) {
    varint(UInt64(field) << 3 | 5)
    withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes.append(contentsOf: $0) }
  }

  mutating func string(_ field: Int, _ value: String) {
    message(field, Array(value.utf8))
  }

  mutating func message(_ field: Int, _ content: [UInt8]) {
    header(field, byteCount: content.count)
    bytes.append(contentsOf: content)
  }

  mutating func message(_ field: Int, _ build: (inout WireWriter) throws -> Void) rethrows {
    var inner = WireWriter()
    try build(&inner)
    message(field, inner.bytes)
  }

  /// The field header before `byteCount` bytes that are written separately.
  mutating func header(_ field: Int, byteCount: Int) {
    varint(UInt64(field) << 3 | 2)
    varint(UInt64(byteCount))
  }

  private mutating func varint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(rest & 0x7F) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }
}
