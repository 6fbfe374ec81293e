// An ONNX model as plain Swift values, unchecked except for the wire format, and without copying weights.
// protobuf-c's structures are not used beyond this layer.

import GraftIR

/// A ModelProto.
struct FileModel {
  var irVersion: Int
  /// Versions by domain; ONNX's own domain is the empty name.
  var opsets: [String: Int]
  var producer: String
  var graph: FileGraph
  var functions: [FileFunction]
  /// Fields that newer versions of ONNX added and that the installed onnx.proto does not know.
  var unknownFields: Set<String>
}

/// A GraphProto.
struct FileGraph {
  var name: String
  var nodes: [FileNode]
  var initializers: [FileTensor]
  var sparseInitializers: [String]
  var inputs: [FileValueInfo]
  var outputs: [FileValueInfo]
}

/// A FunctionProto.
struct FileFunction {
  var name: String
  var domain: String
  var inputs: [String]
  var outputs: [String]
  var attributeNames: [String]
  var nodes: [FileNode]
  var opsets: [String: Int]
}

/// A NodeProto. Absent inputs and outputs have empty names.
struct FileNode {
  var name: String
  var opType: String
  /// Empty for ONNX's own domain.
  var domain: String
  var inputs: [String]
  var outputs: [String]
  var attributes: [FileAttribute]
  /// Its index in the file's list of nodes.
  var index: Int

  /// The name in errors: its name, or its first output if it has none.
  var displayName: String {
    if !name.isEmpty { return name }
    return outputs.first { !$0.isEmpty } ?? "#\(index)"
  }

  /// `Conv`, or `com.microsoft.FusedConv`.
  var qualifiedType: String { domain.isEmpty ? opType : "\(domain).\(opType)" }

  func attribute(_ name: String) -> FileAttribute? { attributes.first { $0.name == name } }
}

/// An AttributeProto.
struct FileAttribute {
  enum Value {
    case int(Int)
    case ints([Int])
    case float(Float)
    case floats([Float])
    case string([UInt8])
    case strings([[UInt8]])
    case tensor(FileTensor)
    case graphs([FileGraph])
    /// A value that no supported operator uses, by the name of its type.
    case other(String)
  }

  var name: String
  var value: Value
  /// The attribute of the enclosing function that this one stands for; empty for none.
  var reference: String
}

/// A ValueInfoProto.
struct FileValueInfo {
  enum Extent {
    case constant(Int)
    case named(String)
    case unknown

    /// Whether it may be any number: older exporters write 0 or -1 for that.
    var isOpen: Bool {
      if case .constant(let value) = self { return value == 0 || value == -1 }
      return true
    }
  }

  var name: String
  /// ONNX's number of the element type; nil if it is not a tensor.
  var elementType: Int?
  /// A description if it is not a tensor.
  var kind = "a value without a type"
  /// Outermost first; nil if the file does not say the rank.
  var shape: [Extent]?
}

/// A TensorProto, with its elements by reference.
struct FileTensor {
  enum Storage {
    /// Little-endian elements in the model's own file.
    case raw(Range<Int>)
    case floats([Float])
    case doubles([Double])
    case int32s([Int32])
    case int64s([Int64])
    case uint64s([UInt64])
    case strings
    /// The entries of external_data.
    case external([String: String])
    case empty
    /// More than one of the above.
    case ambiguous
  }

  var name: String
  /// ONNX's number of the element type.
  var elementType: Int
  var extents: [Int]
  var storage: Storage
  var isSegmented: Bool
}
