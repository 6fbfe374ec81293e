// Small ONNX files for tests, written byte by byte without any code of the importer, so that files
// can be made that no exporter writes. Field numbers are those of onnx.proto.

/// protobuf's wire format.
public enum Wire {
  public static func varint(_ value: UInt64) -> [UInt8] {
    var rest = value
    var bytes: [UInt8] = []
    while rest >= 0x80 {
      bytes.append(UInt8(rest & 0x7F) | 0x80)
      rest >>= 7
    }
    return bytes + [UInt8(rest)]
  }

  public static func int(_ field: Int, _ value: Int) -> [UInt8] {
    varint(UInt64(field) << 3) + varint(UInt64(bitPattern: Int64(value)))
  }

  public static func bytes(_ field: Int, _ content: [UInt8]) -> [UInt8] {
    varint(UInt64(field) << 3 | 2) + varint(UInt64(content.count)) + content
  }

  public static func text(_ field: Int, _ content: String) -> [UInt8] {
    bytes(field, Array(content.utf8))
  }

  public static func float(_ field: Int, _ value: Float) -> [UInt8] {
    varint(UInt64(field) << 3 | 5) + littleEndian([value.bitPattern])
  }

  public static func littleEndian<Word: FixedWidthInteger>(_ words: [Word]) -> [UInt8] {
    words.flatMap { word in withUnsafeBytes(of: word.littleEndian) { Array($0) } }
  }
}

/// A ModelProto in the making. Fields that a test does not set are what a normal exporter writes.
public struct ModelFile {
  public var irVersion: Int? = 8
  public var opsets: [(domain: String, version: Int)] = [("", 17)]
  /// Fields of the GraphProto, serialized.
  public var graph: [[UInt8]] = [Wire.text(2, "test")]
  /// Further fields of the ModelProto, serialized.
  public var more: [[UInt8]] = []

  public init() {}

  public var bytes: [UInt8] {
    var result: [UInt8] = []
    if let irVersion { result += Wire.int(1, irVersion) }
    result += Wire.bytes(7, graph.flatMap(\.self))
    for (domain, version) in opsets {
      result += Wire.bytes(8, Wire.text(1, domain) + Wire.int(2, version))
    }
    return result + more.flatMap(\.self)
  }

  /// An extent of an input or output.
  public enum Extent: ExpressibleByIntegerLiteral, ExpressibleByStringLiteral {
    case value(Int)
    case named(String)
    public init(integerLiteral value: Int) { self = .value(value) }
    public init(stringLiteral value: String) { self = .named(value) }
  }

  public mutating func input(_ name: String, _ shape: [Extent], type: Int = 1) {
    graph.append(Wire.bytes(11, Self.valueInfo(name, shape, type: type)))
  }

  public mutating func output(_ name: String, _ shape: [Extent] = ["N", 1], type: Int = 1) {
    graph.append(Wire.bytes(12, Self.valueInfo(name, shape, type: type)))
  }

  public static func valueInfo(_ name: String, _ shape: [Extent], type: Int) -> [UInt8] {
    let extents = shape.flatMap { extent in
      switch extent {
      case .value(let value): Wire.bytes(1, Wire.int(1, value))
      case .named(let name): Wire.bytes(1, Wire.text(2, name))
      }
    }
    let tensor = Wire.int(1, type) + Wire.bytes(2, extents)
    return Wire.text(1, name) + Wire.bytes(2, Wire.bytes(1, tensor))
  }

  public mutating func node(
    _ opType: String, _ inputs: [String], _ outputs: [String], name: String = "",
    domain: String = "", attributes: [[UInt8]] = []
  ) {
    graph.append(
      Wire.bytes(
        1,
        Self.node(opType, inputs, outputs, name: name, domain: domain, attributes: attributes)))
  }

  /// A NodeProto.
  public static func node(
    _ opType: String, _ inputs: [String], _ outputs: [String], name: String = "",
    domain: String = "", attributes: [[UInt8]] = []
  ) -> [UInt8] {
    inputs.flatMap { Wire.text(1, $0) } + outputs.flatMap { Wire.text(2, $0) }
      + (name.isEmpty ? [] : Wire.text(3, name)) + Wire.text(4, opType)
      + attributes.flatMap { Wire.bytes(5, $0) } + (domain.isEmpty ? [] : Wire.text(7, domain))
  }

  /// An AttributeProto of one integer.
  public static func attribute(_ name: String, int value: Int) -> [UInt8] {
    Wire.text(1, name) + Wire.int(3, value) + Wire.int(20, 2)
  }

  public static func attribute(_ name: String, text value: String) -> [UInt8] {
    Wire.text(1, name) + Wire.text(4, value) + Wire.int(20, 3)
  }

  public static func attribute(_ name: String, ints values: [Int]) -> [UInt8] {
    Wire.text(1, name) + values.flatMap { Wire.int(8, $0) } + Wire.int(20, 7)
  }

  public static func attribute(_ name: String, graph: [UInt8]) -> [UInt8] {
    Wire.text(1, name) + Wire.bytes(6, graph) + Wire.int(20, 5)
  }

  public static func attribute(_ name: String, tensor: [UInt8]) -> [UInt8] {
    Wire.text(1, name) + Wire.bytes(5, tensor) + Wire.int(20, 4)
  }

  /// An initializer of float32 elements, all of one value, as raw_data.
  public mutating func weights(_ name: String, _ shape: [Int], value: Float = 0.5) {
    let count = shape.reduce(1, *)
    initializer(
      name, shape, type: 1,
      data: Wire.bytes(9, Wire.littleEndian([UInt32](repeating: value.bitPattern, count: count))))
  }

  /// An initializer of int64 elements as int64_data.
  public mutating func integers(_ name: String, _ values: [Int]) {
    initializer(
      name, [values.count], type: 7,
      data: Wire.bytes(7, values.flatMap { Wire.varint(UInt64(bitPattern: Int64($0))) }))
  }

  /// An initializer with its data fields given.
  public mutating func initializer(_ name: String, _ shape: [Int], type: Int, data: [UInt8]) {
    graph.append(Wire.bytes(5, Self.tensor(name, shape, type: type, data: data)))
  }

  /// A TensorProto.
  public static func tensor(_ name: String, _ shape: [Int], type: Int, data: [UInt8]) -> [UInt8] {
    shape.flatMap { Wire.int(1, $0) } + Wire.int(2, type) + Wire.text(8, name) + data
  }

  /// The external_data of a tensor, with its data_location.
  public static func external(_ entries: [(String, String)]) -> [UInt8] {
    entries.flatMap { Wire.bytes(13, Wire.text(1, $0.0) + Wire.text(2, $0.1)) } + Wire.int(14, 1)
  }

  /// x → Conv(w) → Relu → y on `[N, 3, 8, 8]` with four 3 × 3 filters: a model without a fault.
  public static func convolution() -> ModelFile {
    var model = ModelFile()
    model.input("x", ["N", 3, 8, 8])
    model.weights("w", [4, 3, 3, 3])
    model.node("Conv", ["x", "w"], ["c"], name: "conv")
    model.node("Relu", ["c"], ["y"], name: "relu")
    model.output("y", ["N", 4, 6, 6])
    return model
  }
}
