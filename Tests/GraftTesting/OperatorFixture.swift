// Single ONNX nodes with what onnxruntime makes of them: GraftOpsTests/Fixtures/operators.json, written by
// tools/make-operator-fixtures. The operators' own tests, those of gradients and those of kernels all run them.

import Foundation
import GraftDiagnostics
import GraftIR
import GraftOps

public struct OperatorFixture: Decodable {
  public var op: String
  public var opset: Int
  public var attributes: [String: Attribute]
  public var inputs: [Tensor?]
  /// How many inputs are fed; the others are constants of the file.
  public var live: Int
  /// Whether the first axis of the fed inputs may be the free batch.
  public var free: Bool
  public var outputs: [Tensor]

  public static func all() throws -> [OperatorFixture] {
    let url = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "GraftOpsTests/Fixtures/operators.json")
    return try JSONDecoder().decode([OperatorFixture].self, from: Data(contentsOf: url))
  }

  /// The operator as its binding reads it, and its operands; nil where one is absent.
  public func imported() throws -> (operation: any Operator, operands: [Tensor?]) {
    let imported = try read(node())
    return (imported.operation, imported.operands.map { $0.flatMap { inputs[$0] } })
  }

  public struct Tensor: Decodable {
    public var dtype: DataType
    public var shape: [Int]
    public var integers: [Int] = []
    public var reals: [Double] = []

    enum CodingKeys: CodingKey { case dtype, shape, data }

    public init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: CodingKeys.self)
      let names: [String: DataType] = [
        "float32": .float32, "int64": .int64, "int32": .int32, "uint8": .uint8, "bool": .bool,
      ]
      let name = try container.decode(String.self, forKey: .dtype)
      guard let dtype = names[name] else {
        throw GraftError(.invalidData, "no element type \(name)")
      }
      self.dtype = dtype
      shape = try container.decode([Int].self, forKey: .shape)
      if dtype.isFloatingPoint {
        reals = try container.decode([Double?].self, forKey: .data).map { $0 ?? .nan }
      } else {
        integers = try container.decode([Int].self, forKey: .data)
      }
    }

    public var type: TensorType { TensorType(dtype, TensorShape(shape)) }

    public var host: HostTensor {
      get throws {
        dtype.isFloatingPoint
          ? .float32(try DenseTensor(shape: shape, elements: reals.map { Float($0) }))
          : .integer(try DenseTensor(shape: shape, elements: integers.map { Dimension($0) }))
      }
    }

    public var data: TensorData {
      get throws {
        switch dtype {
        case .float32: return try TensorData(reals.map { Float($0) }, shape: shape)
        case .int64: return try TensorData(integers.map(Int64.init), shape: shape)
        case .int32:
          let bytes = integers.flatMap { value in
            withUnsafeBytes(of: Int32(value).littleEndian) { Array($0) }
          }
          return try TensorData(.int32, shape, in: MemoryBytes(bytes))
        default:
          return try TensorData(
            dtype, shape, in: MemoryBytes(integers.map { UInt8(truncatingIfNeeded: $0) }))
        }
      }
    }
  }

  public struct Attribute: Decodable {
    public var value: ONNXAttributeValue

    enum CodingKeys: CodingKey { case float }

    public init(from decoder: any Decoder) throws {
      if let container = try? decoder.container(keyedBy: CodingKeys.self),
        let float = try? container.decode(Double.self, forKey: .float)
      {
        value = .float(Double(Float(float)))
        return
      }
      let container = try decoder.singleValueContainer()
      if let int = try? container.decode(Int.self) {
        value = .int(int)
      } else if let ints = try? container.decode([Int].self) {
        value = .ints(ints)
      } else if let string = try? container.decode(String.self) {
        value = .string(string)
      } else {
        value = .tensor(try container.decode(Tensor.self).data)
      }
    }
  }

  /// The node as the importer hands it to a binding; with `freeing` the fed inputs have the batch as
  /// their first axis.
  public func node(freeing: Bool = false) throws -> ONNXNode {
    let inputs = try self.inputs.enumerated().map { index, tensor -> ONNXNode.Input? in
      guard let tensor else { return nil }
      guard index >= live else {
        var type = tensor.type
        if freeing && type.rank > 0 { type.shape[0] = .batch }
        return ONNXNode.Input(type: type)
      }
      let integers =
        tensor.dtype.isFloatingPoint
        ? nil
        : try DenseTensor(shape: tensor.shape, elements: tensor.integers.map { Dimension($0) })
      return ONNXNode.Input(type: tensor.type, integers: integers, data: try tensor.data)
    }
    return ONNXNode(
      opType: op, opset: opset,
      attributes: attributes.mapValues(\.value),
      inputs: inputs, outputCount: outputs.count)
  }
}

/// Reads a node with the binding of its opset.
public func read(_ node: ONNXNode) throws -> ImportedOperator {
  let fitting = Catalog.bindings(onnx: node.opType).filter { $0.opsets.contains(node.opset) }
  guard let binding = fitting.first, fitting.count == 1 else {
    throw GraftError(
      .inconsistency, "\(fitting.count) bindings of \(node.opType) at opset \(node.opset)")
  }
  return try binding.read(node)
}
