// Loads a tensor's elements as TensorData: without copying for raw or external data, converted if they are
// listed in typed fields. All declarations of the file are checked here.

import GraftDiagnostics
import GraftIR

/// Gives the elements of the tensors of one model.
struct TensorLoader {
  let file: any ByteSource
  var external: ExternalData

  /// - Parameter path: the model's, which external data is relative to.
  init(file: any ByteSource, path: String) {
    self.file = file
    external = ExternalData(modelPath: path)
  }

  /// - Throws: ``GraftError`` that names the tensor: wrong or unsupported element type, extents that are
  ///   negative or too large, data that does not fill them, external data that cannot be read.
  mutating func data(of tensor: FileTensor, named name: String? = nil) throws -> TensorData {
    let location = SourceLocation(node: name ?? tensor.name, operatorName: "tensor")
    do {
      return try load(tensor)
    } catch let error as GraftError {
      throw error.at(location)
    }
  }

  private mutating func load(_ tensor: FileTensor) throws -> TensorData {
    guard let dtype = ElementTypes.dtype(tensor.elementType) else {
      let name = ElementTypes.name(tensor.elementType)
      throw GraftError(.unsupported, "its elements are \(name), which Graft does not support")
    }
    guard !tensor.isSegmented else {
      throw GraftError(.unsupported, "it is stored in segments, which Graft does not support")
    }
    let count = try elementCount(tensor)
    switch tensor.storage {
    case .raw(let range):
      return try TensorData(dtype, tensor.extents, in: file, range: range)
    case .external(let entries):
      let (source, range) = try external.range(entries, byteCount: count * dtype.byteCount)
      return try TensorData(dtype, tensor.extents, in: source, range: range)
    case .floats(let values):
      return try pack(values, as: [.float32], tensor, dtype, count) { $0.bitPattern }
    case .doubles(let values):
      return try pack(values, as: [.float64], tensor, dtype, count) { $0.bitPattern }
    case .int64s(let values): return try pack(values, as: [.int64], tensor, dtype, count) { $0 }
    case .uint64s(let values):
      if dtype == .uint32 {
        return try pack(values, as: [.uint32], tensor, dtype, count) { UInt32(exactly: $0) }
      }
      return try pack(values, as: [.uint64], tensor, dtype, count) { $0 }
    case .int32s(let values): return try packNarrow(values, tensor, dtype, count)
    case .empty:
      guard count == 0 else { throw GraftError(.invalidModel, "it has no data") }
      return try TensorData(dtype, tensor.extents, in: MemoryBytes([]))
    case .strings:
      throw GraftError(.unsupported, "it contains strings, which Graft does not support")
    case .ambiguous: throw GraftError(.invalidModel, "it has data in more than one field")
    }
  }

  /// The number of elements that the extents say.
  private func elementCount(_ tensor: FileTensor) throws -> Int {
    if let extent = tensor.extents.first(where: { $0 < 0 }) {
      throw GraftError(.invalidModel, "its extents \(tensor.extents) include \(extent)")
    }
    return try TensorShape(tensor.extents).extents(batch: 1).reduce(1, *)
  }

  /// int32_data serves every type of at most 32 bits but float32.
  private func packNarrow(
    _ values: [Int32], _ tensor: FileTensor, _ dtype: DataType, _ count: Int
  ) throws -> TensorData {
    switch dtype {
    case .int32: return try pack(values, as: [.int32], tensor, dtype, count) { $0 }
    case .int16: return try pack(values, as: [.int16], tensor, dtype, count) { Int16(exactly: $0) }
    case .int8: return try pack(values, as: [.int8], tensor, dtype, count) { Int8(exactly: $0) }
    case .uint8, .bool:
      return try pack(values, as: [.uint8, .bool], tensor, dtype, count) { UInt8(exactly: $0) }
    default:
      return try pack(values, as: [.uint16, .float16, .bfloat16], tensor, dtype, count) {
        UInt16(exactly: $0)
      }
    }
  }

  private func pack<Element, Stored: FixedWidthInteger>(
    _ values: [Element], as types: Set<DataType>, _ tensor: FileTensor, _ dtype: DataType,
    _ count: Int, _ convert: (Element) -> Stored?
  ) throws -> TensorData {
    guard types.contains(dtype) else {
      let name = ElementTypes.name(tensor.elementType)
      throw GraftError(.invalidModel, "its data is in a field that is not for \(name)")
    }
    guard values.count == count else {
      throw GraftError(
        .invalidModel,
        "it lists \(values.count) elements, but its extents \(tensor.extents) need \(count)")
    }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count * MemoryLayout<Stored>.size)
    for value in values {
      guard let stored = convert(value) else {
        throw GraftError(
          .invalidModel,
          "element \(value) does not fit into \(ElementTypes.name(tensor.elementType))")
      }
      withUnsafeBytes(of: stored.littleEndian) { bytes.append(contentsOf: $0) }
    }
    return try TensorData(dtype, tensor.extents, in: MemoryBytes(bytes))
  }
}
