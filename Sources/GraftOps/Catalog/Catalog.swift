// The operator catalog: lookup of operators by opcode and by ONNX name, and type inference of nodes.

import GraftDiagnostics
import GraftIR

/// The list of all operators.
public enum Catalog {
  /// Every operator, in the order of the documentation. Adding one here is the only registration.
  public static let operators: [any Operator.Type] = [
    // Linear
    Convolution.self, TransposedConvolution.self, Gemm.self, MatrixMultiply.self, Attention.self,
    // Normalization
    BatchNormalization.self, LayerNormalization.self, ScaleShift.self,
    LocalResponseNormalization.self, Standardize.self,
    Softmax.self, LogSoftmax.self,
    // Activations
    Relu.self, Clip.self, LeakyRelu.self, Elu.self, Sigmoid.self, HardSigmoid.self, Tanh.self,
    HardSwish.self, Silu.self, Softplus.self, PRelu.self, Softsign.self, Mish.self, Selu.self,
    Celu.self,
    ThresholdedRelu.self, Gelu.self,
    // Pooling and reduction
    MaxPool.self, AveragePool.self, GlobalMaxPool.self, GlobalAveragePool.self,
    RegionPool.self, ReduceMean.self,
    Reduction.self, ArgReduction.self,
    // Arithmetic
    Add.self, Subtract.self, Multiply.self, Divide.self, Sum.self, Minimum.self, Maximum.self,
    Negate.self, AbsoluteValue.self, Floor.self, Ceiling.self, SquareRoot.self, Reciprocal.self,
    Exponential.self, Logarithm.self, Sine.self, Cosine.self, Tangent.self, ArcSine.self,
    ArcCosine.self, ArcTangent.self, HyperbolicSine.self, HyperbolicCosine.self,
    InverseHyperbolicSine.self, InverseHyperbolicCosine.self, InverseHyperbolicTangent.self,
    Sign.self, Round.self, Power.self, TensorPower.self, Remainder.self, ErrorFunction.self,
    RoundTo.self, BitwiseAnd.self, BitwiseOr.self, BitwiseXor.self, BitShift.self,
    // Movement and selection of elements
    Identity.self, Dropout.self, Flatten.self, Reshape.self, Squeeze.self, Unsqueeze.self,
    Transpose.self, Concatenate.self, Split.self, Slice.self, Gather.self, GatherElements.self,
    ScatterElements.self,
    TopK.self, Pad.self, Expand.self,
    ChannelShuffle.self, InterleavePhases.self, PhaseWeights.self, ConvertLayout.self,
    // Bytes that stand for real numbers
    Quantize.self, Dequantize.self, DequantizeWeights.self, QuantizedConvolution.self,
    QuantizedGemm.self, Quantized.self,
    // Shape arithmetic
    Shape.self, Size.self, Cast.self, ConstantOfShape.self, NumberRange.self,
    Equal.self, Greater.self, Less.self, LogicalNot.self, LogicalAnd.self, LogicalOr.self,
    LogicalXor.self,
    Where.self,
    // Training: losses, gradient operators, updates
    CrossEntropy.self, CrossEntropyGradient.self, RegressionError.self,
    RegressionErrorGradient.self,
    ActivationGradient.self, ConvolutionWeightGradient.self, TransposeWeights.self,
    InsertZeros.self, BatchOuterProduct.self, AttentionGradient.self, BatchStatistics.self,
    BatchNormalizationParameterGradient.self, BatchNormalizationInputGradient.self,
    LayerNormalizationGradient.self, LayerNormalizationParameterGradient.self,
    MaxPoolGradient.self, AveragePoolGradient.self, RegionPoolGradient.self,
    ReduceSum.self, GatherGradient.self, RandomDropout.self, SquareSum.self, ClipFactor.self,
    Accumulate.self, SGDUpdate.self, AdamUpdate.self,
    MovingAverage.self,
  ]

  private static let byOpcode: [Opcode: any Operator.Type] = Dictionary(
    operators.map { ($0.opcode, $0) }, uniquingKeysWith: { first, _ in first })

  private static let byONNXName: [String: [(binding: ONNXBinding, type: any Operator.Type)]] = {
    var result: [String: [(binding: ONNXBinding, type: any Operator.Type)]] = [:]
    for type in operators {
      for binding in type.onnx { result[binding.opType, default: []].append((binding, type)) }
    }
    return result
  }()

  /// The operator of that name; nil if there is none.
  public static func type(of opcode: Opcode) -> (any Operator.Type)? { byOpcode[opcode] }

  /// The bindings of an ONNX operator; empty if Graft has none.
  public static func bindings(onnx opType: String) -> [ONNXBinding] {
    byONNXName[opType, default: []].map(\.binding)
  }

  /// The operator of a node with its attributes typed.
  /// - Throws: ``GraftError`` that names the node, for an unknown operator or a wrong attribute.
  public static func operation(of node: Node) throws -> any Operator {
    let location = SourceLocation(node: node.origins.first, operatorName: node.opcode.rawValue)
    guard let type = byOpcode[node.opcode] else {
      throw GraftError(.invalidGraph, "unknown operator", at: location)
    }
    return try at(location) { try type.init(attributes: node.attributes) }
  }

  /// Checks the number of operands, then infers the types of the results in plain layout.
  public static func inferTypes(
    _ operation: any Operator, _ operands: [TensorType?]
  ) throws -> [TensorType] {
    let rules = type(of: operation).operands
    let isVariadic = rules.last?.presence == .variadic
    guard operands.count <= rules.count || isVariadic else {
      throw GraftError(
        .invalidGraph, "\(operands.count) operands, expected at most \(rules.count)")
    }
    for (index, rule) in rules.enumerated() where rule.presence != .optional {
      guard index < operands.count, operands[index] != nil else {
        throw GraftError(.invalidGraph, "operand \(index) (\(rule.name)) is missing")
      }
    }
    for (index, type) in operands.enumerated() {
      guard let type else { continue }
      let largest = TensorShape.largestElementCount
      guard type.shape.dimensions.allSatisfy({ (0...largest).contains($0.coefficient) }),
        (try? type.shape.extents(batch: 1)) != nil
      else { throw GraftError(.invalidGraph, "operand \(index) has an impossible shape: \(type)") }
    }
    let results = try operation.inferTypes(operands)
    for result in results {
      _ = try result.shape.extents(batch: 1)
      guard result.shape.dimensions.allSatisfy({ $0.coefficient >= 0 }) else {
        throw GraftError(.invalidGraph, "the result would have the shape \(result.shape)")
      }
    }
    return results
  }

  private static func type(of operation: any Operator) -> any Operator.Type {
    Swift.type(of: operation)
  }
}

extension Graph {
  /// Adds a node for `operation`, with types inferred from its operands.
  @discardableResult
  public mutating func append(
    _ operation: any Operator, _ operands: [ValueID?], names: [String?] = [],
    origins: [String] = [], before successor: NodeID? = nil
  ) throws -> [ValueID] {
    let opcode = Swift.type(of: operation).opcode
    let types = try at(SourceLocation(node: origins.first, operatorName: opcode.rawValue)) {
      try Catalog.inferTypes(operation, operands.map { $0.map { self.type(of: $0) } })
    }
    return addNode(
      opcode, operands, operation.attributes, types: types, names: names, origins: origins,
      before: successor)
  }

  /// The operand types of a node by position.
  public func operandTypes(of node: Node) -> [TensorType?] {
    node.operands.map { $0.map { type(of: $0) } }
  }

  public func resultTypes(of node: Node) -> [TensorType] { node.results.map { type(of: $0) } }
}
