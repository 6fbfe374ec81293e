// The schema of each message from protobuf-c's descriptors, so that the scan before unpacking agrees with
// protobuf-c.

import COnnxProto

/// One field of a message.
struct WireField {
  enum Kind: Equatable {
    case varint
    case fixed32
    case fixed64
    case string
    case bytes
    /// A tensor's raw_data: stays in the file, a reference takes its place.
    case rawData
    /// A message, by its index in ``WireSchema/messages``.
    case message(Int)
    /// Nothing that Graft reads: documentation, value_info, training_info.
    case dropped
  }

  var name: String
  var kind: Kind
  var isRepeated: Bool
  /// A bit for what may occur once only: a singular message, or all the members of a oneof.
  /// protobuf would merge such fields; no writer of ONNX makes them.
  var onceBit: UInt32

  /// Whether protobuf may write the field with this wire type.
  func fits(wireType: UInt64) -> Bool {
    switch kind {
    case .varint: wireType == 0 || isRepeated && wireType == 2
    case .fixed64: wireType == 1 || isRepeated && wireType == 2
    case .fixed32: wireType == 5 || isRepeated && wireType == 2
    case .string, .bytes, .rawData, .message, .dropped: wireType == 2
    }
  }
}

/// One kind of message; `fields` is indexed by field number.
struct WireMessage {
  var name: String
  var fields: [WireField?]

  func field(_ number: Int) -> WireField? {
    number < fields.count ? fields[number] : nil
  }
}

/// Every message that a ModelProto may contain; the ModelProto itself is number 0.
struct WireSchema {
  private(set) var messages: [WireMessage] = []

  static let onnx = WireSchema()

  /// Fields that are skipped wherever they occur. A file's value_info is not believed: types are
  /// inferred anew, with a dynamic batch.
  private static let droppedNames: Set<String> = [
    "doc_string", "value_info", "training_info", "quantization_annotation", "denotation",
  ]

  private init() {
    var model = Onnx__ModelProto()
    onnx__model_proto__init(&model)
    var indices: [String: Int] = [:]
    guard let root = model.base.descriptor else { return }
    _ = add(root, &indices)
  }

  private mutating func add(
    _ descriptor: UnsafePointer<ProtobufCMessageDescriptor>, _ indices: inout [String: Int]
  ) -> Int {
    let name = String(cString: descriptor.pointee.short_name)
    // Nested types share short names (TypeProto.Tensor), full names are unique.
    let fullName = String(cString: descriptor.pointee.name)
    if let known = indices[fullName] { return known }
    let index = messages.count
    indices[fullName] = index
    messages.append(WireMessage(name: name, fields: []))
    let count = Int(descriptor.pointee.n_fields)
    let list = UnsafeBufferPointer(start: descriptor.pointee.fields, count: count)
    var fields: [WireField?] = Array(repeating: nil, count: 1 + Int(list.map(\.id).max() ?? 0))
    var nextBit: UInt32 = 1
    var oneofBits: [UInt32: UInt32] = [:]
    func newBit() -> UInt32 {
      defer { nextBit <<= 1 }
      return nextBit
    }
    for field in list {
      let fieldName = String(cString: field.name)
      var once: UInt32 = 0
      var kind = Self.kind(field.type)
      if Self.droppedNames.contains(fieldName) {
        kind = .dropped
      } else if field.flags & PROTOBUF_C_FIELD_FLAG_ONEOF.rawValue != 0 {
        // The members of a oneof share the place of their discriminator.
        let bit = oneofBits[field.quantifier_offset] ?? newBit()
        oneofBits[field.quantifier_offset] = bit
        once = bit
      } else if field.type == PROTOBUF_C_TYPE_MESSAGE, field.label != PROTOBUF_C_LABEL_REPEATED {
        once = newBit()
      }
      if fullName == "onnx.TensorProto", fieldName == "raw_data" {
        kind = .rawData
        once = newBit()
      }
      if kind != .dropped, field.type == PROTOBUF_C_TYPE_MESSAGE, let child = field.descriptor {
        let pointer = child.assumingMemoryBound(to: ProtobufCMessageDescriptor.self)
        kind = .message(add(pointer, &indices))
      }
      fields[Int(field.id)] = WireField(
        name: fieldName, kind: kind, isRepeated: field.label == PROTOBUF_C_LABEL_REPEATED,
        onceBit: once)
    }
    messages[index].fields = fields
    return index
  }

  private static func kind(_ type: ProtobufCType) -> WireField.Kind {
    switch type {
    case PROTOBUF_C_TYPE_STRING: .string
    case PROTOBUF_C_TYPE_BYTES: .bytes
    case PROTOBUF_C_TYPE_FLOAT, PROTOBUF_C_TYPE_FIXED32, PROTOBUF_C_TYPE_SFIXED32: .fixed32
    case PROTOBUF_C_TYPE_DOUBLE, PROTOBUF_C_TYPE_FIXED64, PROTOBUF_C_TYPE_SFIXED64: .fixed64
    default: .varint
    }
  }
}
