// A mutator that knows protobuf: it changes one field and repairs the lengths around it, so that
// mutated files get past the wire format and reach the operators.

import FuzzSupport

/// One field of a message.
indirect enum Field {
  case varint(key: UInt64, value: UInt64)
  /// Four, eight, or a counted number of bytes.
  case bytes(key: UInt64, [UInt8])
  case message(key: UInt64, [Field])

  var key: UInt64 {
    switch self {
    case .varint(let key, _), .bytes(let key, _), .message(let key, _): key
    }
  }
}

/// The messages of onnx.proto that are worth going into, by field number.
enum Kind {
  case model, graph, node, tensor, attribute, valueInfo, type, tensorType, shape, leaf, function

  func child(_ number: UInt64) -> Kind? {
    switch (self, number) {
    case (.model, 7), (.attribute, 6), (.attribute, 11): .graph
    case (.model, 8), (.function, 9), (.tensor, 13): .leaf
    case (.model, 25): .function
    case (.graph, 1), (.function, 7): .node
    case (.graph, 5), (.attribute, 5): .tensor
    case (.graph, 11), (.graph, 12): .valueInfo
    case (.node, 5): .attribute
    case (.valueInfo, 2): .type
    case (.type, 1): .tensorType
    case (.tensorType, 2): .shape
    case (.shape, 1): .leaf
    default: nil
    }
  }
}

/// The fields of a message; nil where it is not well-formed.
func parse(_ bytes: ArraySlice<UInt8>, _ kind: Kind, depth: Int = 0) -> [Field]? {
  var rest = bytes
  var fields: [Field] = []
  func varint() -> UInt64? {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while let byte = rest.popFirst(), shift < 64 {
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return value }
      shift += 7
    }
    return nil
  }
  while !rest.isEmpty {
    guard let key = varint() else { return nil }
    switch key & 7 {
    case 0:
      guard let value = varint() else { return nil }
      fields.append(.varint(key: key, value: value))
    case 1, 5:
      let count = key & 7 == 1 ? 8 : 4
      guard rest.count >= count else { return nil }
      fields.append(.bytes(key: key, Array(rest.prefix(count))))
      rest.removeFirst(count)
    case 2:
      guard let length = varint(), length <= UInt64(rest.count) else { return nil }
      let content = rest.prefix(Int(length))
      rest.removeFirst(Int(length))
      if depth < 40, let child = kind.child(key >> 3),
        let inner = parse(content, child, depth: depth + 1)
      {
        fields.append(.message(key: key, inner))
      } else {
        fields.append(.bytes(key: key, Array(content)))
      }
    default: return nil
    }
  }
  return fields
}

func serialize(_ fields: [Field]) -> [UInt8] {
  var bytes: [UInt8] = []
  func append(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(rest & 0x7F) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }
  for field in fields {
    append(field.key)
    switch field {
    case .varint(_, let value): append(value)
    case .bytes(let key, let content):
      if key & 7 == 2 { append(UInt64(content.count)) }
      bytes += content
    case .message(_, let inner):
      let content = serialize(inner)
      append(UInt64(content.count))
      bytes += content
    }
  }
  return bytes
}

/// Changes one field somewhere below `fields`.
func mutate(_ fields: inout [Field], _ random: inout Randomness) {
  guard let index = fields.indices.randomElement(using: &random) else { return }
  if Int.random(in: 0..<12, using: &random) == 0 {
    switch Int.random(in: 0..<3, using: &random) {
    case 0: fields.remove(at: index)
    case 1: fields.insert(fields[index], at: index)
    default: fields.swapAt(index, Int.random(in: fields.indices, using: &random))
    }
    return
  }
  switch fields[index] {
  case .message(let key, var inner):
    mutate(&inner, &random)
    fields[index] = .message(key: key, inner)
  case .varint(let key, let value):
    let choice = Int.random(in: 0..<4, using: &random)
    let changed: UInt64 =
      switch choice {
      case 0: value &+ 1
      case 1: value &- 1
      case 2: UInt64(Int.random(in: 0..<24, using: &random))
      default: UInt64(bitPattern: Fuzzing.interesting.randomElement(using: &random) ?? 0)
      }
    fields[index] = .varint(key: key, value: changed)
  case .bytes(let key, var content):
    if key & 7 == 2 {
      content = Fuzzing.mutated(content, growth: 32)
    } else {
      // A number of four or eight bytes keeps its length.
      let count = content.count
      content = Fuzzing.mutated(content, growth: 0)
      content += [UInt8](repeating: 0, count: count - content.count)
    }
    fields[index] = .bytes(key: key, content)
  }
}

@_cdecl("LLVMFuzzerCustomMutator")
public func customMutator(
  _ data: UnsafeMutablePointer<UInt8>?, _ count: Int, _ room: Int, _ seed: CUnsignedInt
) -> Int {
  guard let data else { return 0 }
  var random = Randomness(seed: UInt64(seed))
  let bytes = Array(UnsafeBufferPointer(start: data, count: count))
  guard Int.random(in: 0..<8, using: &random) != 0, var fields = parse(bytes[...], .model),
    !fields.isEmpty
  else { return mutateBytes(data, count, room) }
  for _ in 0..<Int.random(in: 1...4, using: &random) { mutate(&fields, &random) }
  let result = serialize(fields)
  guard result.count <= room else { return mutateBytes(data, count, room) }
  for (index, byte) in result.enumerated() { data[index] = byte }
  return result.count
}
