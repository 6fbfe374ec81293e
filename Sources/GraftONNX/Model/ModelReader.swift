// Reads a file to a FileModel: maps it, scans it, lets protobuf-c unpack the skeleton, and converts it to
// Swift values. Recursion into graphs in attributes is bounded by the scan.

import COnnxProto
import GraftDiagnostics
import GraftIR

/// A model with the mapped file of its weights.
struct OpenModel {
  var model: FileModel
  let file: any ByteSource
  /// The model without weights, for libonnx's checker.
  let skeleton: Skeleton

  init(reading file: any ByteSource) throws {
    let skeleton = try file.withUnsafeBytes { try Skeleton(of: $0) }
    self.file = file
    self.skeleton = skeleton
    self.model = try skeleton.bytes.withUnsafeBufferPointer { bytes in
      guard let message = onnx__model_proto__unpack(nil, bytes.count, bytes.baseAddress) else {
        throw GraftError(.invalidModel, "the file is damaged: protobuf-c cannot parse it")
      }
      defer { onnx__model_proto__free_unpacked(message, nil) }
      return try FileModel(message.pointee, unknownFields: skeleton.unknownFields)
    }
  }
}

/// A C array of pointers to messages.
private func each<Message, Result>(
  _ list: UnsafeMutablePointer<UnsafeMutablePointer<Message>?>?, _ count: Int,
  _ body: (Message) throws -> Result
) rethrows -> [Result] {
  try UnsafeBufferPointer(start: list, count: list == nil ? 0 : count).compactMap {
    try $0.map { try body($0.pointee) }
  }
}

private func array<Element>(_ start: UnsafeMutablePointer<Element>?, _ count: Int) -> [Element] {
  Array(UnsafeBufferPointer(start: start, count: start == nil ? 0 : count))
}

private func text(_ pointer: UnsafeMutablePointer<CChar>?) -> String {
  pointer.map { String(cString: $0) } ?? ""
}

private func texts(
  _ list: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?, _ count: Int
) -> [String] {
  array(list, count).map { text($0) }
}

private func bytes(_ data: ProtobufCBinaryData) -> [UInt8] {
  Array(UnsafeBufferPointer(start: data.data, count: data.data == nil ? 0 : data.len))
}

/// The long name of ONNX's own domain means the same as the empty one.
private func domain(_ pointer: UnsafeMutablePointer<CChar>?) -> String {
  let name = text(pointer)
  return name == "ai.onnx" ? "" : name
}

private func opsets(
  _ list: UnsafeMutablePointer<UnsafeMutablePointer<Onnx__OperatorSetIdProto>?>?, _ count: Int
) -> [String: Int] {
  let pairs = each(list, count) { (domain($0.domain), Int($0.version)) }
  return Dictionary(pairs, uniquingKeysWith: { max($0, $1) })
}

extension FileModel {
  init(_ message: Onnx__ModelProto, unknownFields: Set<String>) throws {
    guard let graph = message.graph else {
      throw GraftError(.invalidModel, "is not an ONNX model: it has no graph")
    }
    self.init(
      irVersion: Int(message.ir_version),
      opsets: GraftONNX.opsets(message.opset_import, message.n_opset_import),
      producer: [text(message.producer_name), text(message.producer_version)]
        .filter { !$0.isEmpty }.joined(separator: " "),
      graph: FileGraph(graph.pointee),
      functions: each(message.functions, message.n_functions) { FileFunction($0) },
      unknownFields: unknownFields)
  }
}

extension FileGraph {
  fileprivate init(_ message: Onnx__GraphProto) {
    self.init(
      name: text(message.name),
      nodes: FileNode.list(message.node, message.n_node),
      initializers: each(message.initializer, message.n_initializer) { FileTensor($0) },
      sparseInitializers: each(message.sparse_initializer, message.n_sparse_initializer) {
        text($0.values?.pointee.name)
      },
      inputs: each(message.input, message.n_input) { FileValueInfo($0) },
      outputs: each(message.output, message.n_output) { FileValueInfo($0) })
  }
}

extension FileFunction {
  fileprivate init(_ message: Onnx__FunctionProto) {
    self.init(
      name: text(message.name), domain: GraftONNX.domain(message.domain),
      inputs: texts(message.input, message.n_input),
      outputs: texts(message.output, message.n_output),
      attributeNames: texts(message.attribute, message.n_attribute),
      nodes: FileNode.list(message.node, message.n_node),
      opsets: GraftONNX.opsets(message.opset_import, message.n_opset_import))
  }
}

extension FileNode {
  fileprivate static func list(
    _ nodes: UnsafeMutablePointer<UnsafeMutablePointer<Onnx__NodeProto>?>?, _ count: Int
  ) -> [FileNode] {
    var index = -1
    return each(nodes, count) { node in
      index += 1
      return FileNode(
        name: text(node.name), opType: text(node.op_type), domain: GraftONNX.domain(node.domain),
        inputs: texts(node.input, node.n_input), outputs: texts(node.output, node.n_output),
        attributes: each(node.attribute, node.n_attribute) { FileAttribute($0) }, index: index)
    }
  }
}

extension FileAttribute {
  fileprivate init(_ message: Onnx__AttributeProto) {
    self.init(
      name: text(message.name), value: Value(message), reference: text(message.ref_attr_name))
  }
}

extension FileAttribute.Value {
  fileprivate init(_ message: Onnx__AttributeProto) {
    switch Self.type(of: message) {
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT: self = .float(message.f)
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT: self = .int(Int(message.i))
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING: self = .string(bytes(message.s))
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR:
      self = message.t.map { .tensor(FileTensor($0.pointee)) } ?? .other("TENSOR without a tensor")
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH:
      self = .graphs(message.g.map { [FileGraph($0.pointee)] } ?? [])
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS:
      self = .floats(array(message.floats, message.n_floats))
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
      self = .ints(array(message.ints, message.n_ints).map(Int.init))
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS:
      self = .strings(array(message.strings, message.n_strings).map { bytes($0) })
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPHS:
      self = .graphs(each(message.graphs, message.n_graphs) { FileGraph($0) })
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSORS: self = .other("TENSORS")
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__SPARSE_TENSOR: self = .other("SPARSE_TENSOR")
    case let type: self = .other("attribute type \(type.rawValue)")
    }
  }

  /// The declared type; files of IR 1 declare none, there it is the field that is filled.
  private static func type(of message: Onnx__AttributeProto)
    -> Onnx__AttributeProto__AttributeType
  {
    if message.has_type != 0, message.type != ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__UNDEFINED {
      return message.type
    }
    if message.has_f != 0 { return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT }
    if message.has_i != 0 { return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT }
    if message.has_s != 0 { return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING }
    if message.t != nil { return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR }
    if message.g != nil { return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH }
    if message.n_floats > 0 { return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS }
    if message.n_strings > 0 { return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS }
    return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS
  }
}

extension FileValueInfo {
  fileprivate init(_ message: Onnx__ValueInfoProto) {
    self.init(name: text(message.name), elementType: nil, shape: nil)
    guard let type = message.type?.pointee else { return }
    switch type.value_case {
    case ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE: kind = "a tensor"
    case ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE: kind = "a sequence"
    case ONNX__TYPE_PROTO__VALUE_MAP_TYPE: kind = "a map"
    case ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE: kind = "an optional value"
    case ONNX__TYPE_PROTO__VALUE_SPARSE_TENSOR_TYPE: kind = "a sparse tensor"
    default: break
    }
    guard type.value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE,
      let tensor = type.tensor_type?.pointee
    else { return }
    elementType = Int(tensor.elem_type)
    guard let shape = tensor.shape?.pointee else { return }
    self.shape = each(shape.dim, shape.n_dim) { dimension in
      switch dimension.value_case {
      case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE:
        .constant(Int(dimension.dim_value))
      case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM: .named(text(dimension.dim_param))
      default: .unknown
      }
    }
  }
}

extension FileTensor {
  fileprivate init(_ message: Onnx__TensorProto) {
    self.init(
      name: text(message.name), elementType: Int(message.data_type),
      extents: array(message.dims, message.n_dims).map(Int.init),
      storage: Storage(message), isSegmented: message.segment != nil)
  }
}

extension FileTensor.Storage {
  fileprivate init(_ message: Onnx__TensorProto) {
    var found: [Self] = []
    if message.has_raw_data != 0, message.raw_data.len == 16, let data = message.raw_data.data {
      let words = UnsafeRawPointer(data)
      let offset = UInt64(littleEndian: words.loadUnaligned(as: UInt64.self))
      let count = UInt64(littleEndian: words.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
      // Both came from the skeleton, which took them from a range inside the file.
      found.append(.raw(Int(offset)..<Int(offset + count)))
    }
    if message.n_float_data > 0 {
      found.append(.floats(array(message.float_data, message.n_float_data)))
    }
    if message.n_double_data > 0 {
      found.append(.doubles(array(message.double_data, message.n_double_data)))
    }
    if message.n_int32_data > 0 {
      found.append(.int32s(array(message.int32_data, message.n_int32_data)))
    }
    if message.n_int64_data > 0 {
      found.append(.int64s(array(message.int64_data, message.n_int64_data)))
    }
    if message.n_uint64_data > 0 {
      found.append(.uint64s(array(message.uint64_data, message.n_uint64_data)))
    }
    if message.n_string_data > 0 { found.append(.strings) }
    let location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL
    if message.has_data_location != 0, message.data_location == location {
      let entries = each(message.external_data, message.n_external_data) {
        (text($0.key), text($0.value))
      }
      found.append(.external(Dictionary(entries, uniquingKeysWith: { $1 })))
    }
    self = found.count > 1 ? .ambiguous : found.first ?? .empty
  }
}
