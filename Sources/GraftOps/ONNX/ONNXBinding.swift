// ONNX bindings of operators, used by the importer and the exporter. Independent of protobuf; the importer
// passes plain values.

import GraftDiagnostics
import GraftIR

/// The value of an ONNX attribute.
public enum ONNXAttributeValue: Sendable {
  case int(Int)
  case ints([Int])
  case float(Double)
  case floats([Double])
  case string(String)
  case strings([String])
  case tensor(TensorData)
}

/// An ONNX node as input of an operator's binding.
public struct ONNXNode: Sendable {
  public var opType: String
  /// The version of the operator set that the model declares for the node's domain.
  public var opset: Int
  public var attributes: [String: ONNXAttributeValue]
  /// The inputs by position, nil if one is absent.
  public var inputs: [Input?]
  /// The number of outputs of the node, including unused ones.
  public var outputCount: Int
  /// The number of outputs up to the last one with readers.
  public var readOutputCount: Int
  /// The fixed batch size of the file, while the importer tries to make it dynamic.
  public var freedBatch: Int?
  /// What errors call it; may be empty.
  public var name: String

  public struct Input: Sendable {
    public var type: TensorType
    /// The elements, if they are integers known at compile time.
    public var integers: DenseTensor<Dimension>?
    /// The data, if the input is a constant of the file.
    public var data: TensorData?

    public init(type: TensorType, integers: DenseTensor<Dimension>? = nil, data: TensorData? = nil)
    {
      self.type = type
      self.integers = integers
      self.data = data
    }
  }

  public init(
    opType: String, opset: Int, attributes: [String: ONNXAttributeValue], inputs: [Input?],
    outputCount: Int, readOutputCount: Int? = nil, freedBatch: Int? = nil, name: String = ""
  ) {
    self.opType = opType
    self.opset = opset
    self.attributes = attributes
    self.inputs = inputs
    self.outputCount = outputCount
    self.readOutputCount = readOutputCount ?? outputCount
    self.freedBatch = freedBatch
    self.name = name
  }
}

/// The IR equivalent of an ONNX node.
public struct ImportedOperator: Sendable {
  public var operation: any Operator
  /// For each operand of the operator the ONNX input that it is, nil if it is absent.
  public var operands: [Int?]
  /// For each result of the operator the ONNX output that it is; by default the first, second …
  public var results: [Int]?
  /// Shapes under which ONNX inputs are read instead of their own, by index.
  public var inputShapes: [Int: TensorShape] = [:]
  /// Whether the node is in training mode, and the operator does what it does in inference.
  public var isInTrainingMode = false

  public init(_ operation: any Operator, operands: [Int?], results: [Int]? = nil) {
    self.operation = operation
    self.operands = operands
    self.results = results
  }
}

/// An ONNX node as an operator's binding writes it, at opset 17 or later.
public struct ExportedOperator: Sendable {
  public enum Input: Sendable {
    /// An operand of the IR node, by position.
    case operand(Int)
    /// A constant that the exporter adds as an initializer.
    case constant(TensorData)
    /// A shape as a vector of integers; computed from an input of the graph if it contains the batch.
    case shape(TensorShape)
    case absent
  }

  public var opType: String
  /// In the order in which they are written.
  public var attributes: [(name: String, value: ONNXAttributeValue)]
  public var inputs: [Input]
  /// The first opset in which the operator has these attributes, where it is older than they are; the file is
  /// written in that opset if it would be in an older one.
  public var firstOpset: Int?

  public init(
    _ opType: String, attributes: [(name: String, value: ONNXAttributeValue)] = [],
    inputs: [Input], since firstOpset: Int? = nil
  ) {
    self.firstOpset = firstOpset
    self.opType = opType
    self.attributes = attributes
    self.inputs = inputs
  }
}

/// The binding of an ONNX operator to an IR operator.
public struct ONNXBinding: Sendable {
  /// `Conv`; the domain is ONNX's own.
  public var opType: String
  /// The supported opsets of the model.
  public var opsets: ClosedRange<Int>
  /// Reads a node.
  /// - Throws: ``GraftError``: `unsupported` for a valid node that Graft does not support, `invalidModel` for
  ///   a node that violates the ONNX specification.
  public var read: @Sendable (ONNXNode) throws -> ImportedOperator

  public init(
    _ opType: String, opsets: ClosedRange<Int>,
    read: @escaping @Sendable (ONNXNode) throws -> ImportedOperator
  ) {
    self.opType = opType
    self.opsets = opsets
    self.read = read
  }

  /// A binding for all opsets from `first` to the newest that Graft reads.
  public init(
    _ opType: String, since first: Int = 1,
    read: @escaping @Sendable (ONNXNode) throws -> ImportedOperator
  ) {
    self.init(opType, opsets: first...Self.supportedOpsets.upperBound, read: read)
  }

  /// Every operator-set version that Graft reads.
  public static let supportedOpsets = 1...28
}

/// An operator that can be written as ONNX.
public protocol ONNXExportable: Operator {
  /// - Parameters:
  ///   - operands: the operands' types, nil if absent.
  ///   - opset: the version being written, 17 or later.
  func exported(operands: [TensorType?], results: [TensorType], opset: Int) throws
    -> ExportedOperator
}

/// Typed access to a node's attributes, with ONNX's defaults.
extension ONNXNode {
  public func int(_ name: String, default fallback: Int) throws -> Int {
    switch attributes[name] {
    case nil: return fallback
    case .int(let value): return value
    default: throw wrongAttribute(name, "an integer")
    }
  }

  public func optionalInts(_ name: String) throws -> [Int]? {
    switch attributes[name] {
    case nil: return nil
    case .ints(let value): return value
    default: throw wrongAttribute(name, "a list of integers")
    }
  }

  public func float(_ name: String, default fallback: Double) throws -> Double {
    switch attributes[name] {
    case nil: return fallback
    case .float(let value): return value
    default: throw wrongAttribute(name, "a number")
    }
  }

  public func string(_ name: String, default fallback: String) throws -> String {
    switch attributes[name] {
    case nil: return fallback
    case .string(let value): return value
    default: throw wrongAttribute(name, "a string")
    }
  }

  public func input(_ index: Int) throws -> Input {
    guard index < inputs.count, let input = inputs[index] else {
      throw GraftError(.invalidModel, "input \(index) is missing")
    }
    return input
  }

  public func optionalInput(_ index: Int) -> Input? {
    index < inputs.count ? inputs[index] : nil
  }

  /// The integers of an input that must be known at compile time, such as a shape or axes; nil where
  /// the input is absent.
  public func constantIntegers(_ index: Int, named name: String) throws -> [Dimension]? {
    guard let input = optionalInput(index) else { return nil }
    guard let integers = input.integers else {
      throw GraftError(
        .unsupported,
        "input \(name.quotedForDisplay) must be constant, but it is computed at "
          + "run time")
    }
    return integers.elements
  }

  /// Advice on exporting a network in inference mode.
  static let inferenceAdvice =
    "If the network was exported in training mode, export it in inference mode: in PyTorch call "
    + "model.eval() before torch.onnx.export, and pass training=TrainingMode.EVAL if the "
    + "exporter has it."

  /// The error of a node in training mode.
  func trainingMode() -> GraftError {
    GraftError(.unsupported, "it is in training mode", advice: Self.inferenceAdvice)
  }

  private func wrongAttribute(_ name: String, _ expected: String) -> GraftError {
    GraftError(.invalidModel, "attribute \(name.quotedForDisplay) must be \(expected)")
  }
}
