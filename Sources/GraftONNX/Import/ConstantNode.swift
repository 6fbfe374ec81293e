// Constants in node attributes: of Constant and ConstantOfShape, and attribute values for operator bindings.

import GraftDiagnostics
import GraftIR
import GraftOps

enum ConstantNode {
  /// An attribute as plain data.
  /// - Throws: ``GraftError`` of kind `unsupported` for graphs and other values that no supported
  ///   operator takes.
  static func value(
    of attribute: FileAttribute, _ loader: inout TensorLoader
  ) throws -> ONNXAttributeValue {
    let name = attribute.name.quotedForDisplay
    guard attribute.reference.isEmpty else {
      throw GraftError(
        .invalidModel,
        "attribute \(name) refers to an attribute of a function, but is not in a function")
    }
    switch attribute.value {
    case .int(let value): return .int(value)
    case .ints(let values): return .ints(values)
    case .float(let value): return .float(Double(value))
    case .floats(let values): return .floats(values.map(Double.init))
    case .string(let bytes): return .string(try text(bytes, name))
    case .strings(let list): return .strings(try list.map { try text($0, name) })
    case .tensor(let tensor): return .tensor(try loader.data(of: tensor, named: attribute.name))
    case .graphs: throw GraftError(.unsupported, "attribute \(name) is a graph")
    case .other(let type): throw GraftError(.unsupported, "attribute \(name) is a \(type)")
    }
  }

  private static func text(_ bytes: [UInt8], _ name: String) throws -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw GraftError(.invalidModel, "attribute \(name) is not UTF-8 text")
    }
    return text
  }

  /// The tensor of a Constant node.
  static func data(of node: FileNode, _ loader: inout TensorLoader) throws -> TensorData {
    guard node.attributes.count == 1, let attribute = node.attributes.first else {
      throw GraftError(
        .invalidModel, "it has \(node.attributes.count) attributes, expected one, its value")
    }
    switch (attribute.name, try value(of: attribute, &loader)) {
    case ("value", .tensor(let data)): return data
    case ("value_int", .int(let value)):
      return try TensorData(packing: [value], as: .int64, shape: [])
    case ("value_ints", .ints(let values)):
      return try TensorData(packing: values, as: .int64, shape: [values.count])
    case ("value_float", .float(let value)):
      return try TensorData(packing: [value], as: .float32, shape: [])
    case ("value_floats", .floats(let values)):
      return try TensorData(packing: values, as: .float32, shape: [values.count])
    default:
      throw GraftError(
        .unsupported,
        "its value is \(attribute.name.quotedForDisplay), which Graft does not support")
    }
  }

  /// A tensor filled with the value of a ConstantOfShape node.
  /// - Parameter budget: the remaining memory in bytes, from which its size is subtracted.
  static func fill(
    _ extents: [Int], of node: FileNode, _ loader: inout TensorLoader, budget: inout FoldingBudget
  ) throws -> TensorData {
    guard extents.allSatisfy({ $0 >= 0 }) else {
      throw GraftError(.invalidModel, "it needs a tensor with extents \(extents)")
    }
    let count = try TensorShape(extents).extents(batch: 1).reduce(1, *)
    var element = try TensorData([Float(0)], shape: [1])
    if let attribute = node.attribute("value") {
      guard case .tensor(let data) = try value(of: attribute, &loader), data.elementCount == 1
      else {
        throw GraftError(.invalidModel, "its value must be a tensor of one element")
      }
      element = data
    }
    let size = element.dtype.byteCount
    try budget.take(count, of: element.dtype)
    let total = count * size
    let bytes = element.withUnsafeBytes { pattern in
      [UInt8](unsafeUninitializedCapacity: total) { buffer, initialized in
        let target = UnsafeMutableRawBufferPointer(buffer)
        var filled = min(size, total)
        target.copyMemory(from: UnsafeRawBufferPointer(rebasing: pattern[..<filled]))
        // Fills by doubling copies.
        while filled < total {
          let next = min(filled, total - filled)
          UnsafeMutableRawBufferPointer(rebasing: target[filled..<(filled + next)])
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: target[..<next]))
          filled += next
        }
        initialized = total
      }
    }
    return try TensorData(element.dtype, extents, in: MemoryBytes(bytes))
  }
}
