// ONNX operators that Graft computes with others. The importer puts what a function builds in the node's place, so
// passes, kernels, gradients and the exporter know nothing of it.

import GraftDiagnostics
import GraftIR

/// An ONNX operator as a function of Graft's operators.
public struct ONNXFunction: Sendable {
  /// `ReduceL1`
  public let opType: String
  /// Empty for ONNX's own.
  public let domain: String
  /// The opsets of ONNX's own domain in the model in which the function is the operator.
  public let opsets: ClosedRange<Int>
  /// Whether it also applies where all inputs are constants, which a binding else folds.
  public let appliesToConstants: Bool
  /// The node's outputs; nil where the function does not fit the node, which its bindings may.
  /// - Throws: ``GraftError``: `unsupported` for a valid node that Graft does not support, `invalidModel` for
  ///   a node that violates the ONNX specification.
  public let build: @Sendable (inout FunctionBuilder) throws -> [FunctionBuilder.Term]?

  init(
    _ opType: String, domain: String = "", opsets: ClosedRange<Int>? = nil, since first: Int = 1,
    appliesToConstants: Bool = false,
    build: @escaping @Sendable (inout FunctionBuilder) throws -> [FunctionBuilder.Term]?
  ) {
    self.opType = opType
    self.domain = domain
    self.appliesToConstants = appliesToConstants
    self.opsets = opsets ?? first...ONNXBinding.supportedOpsets.upperBound
    self.build = build
  }

  /// Every function.
  public static let all =
    elementwise + reductions + normalizations + movements + indexing + losses + attention
    + powerPools + spatial + sampling + windows + regions
    + scans + random + quantization + runtimeQuantization + states
    + [einsum]
    + [resize] + upsamples

  private static let byName = Dictionary(grouping: all, by: \.opType)

  /// The function for an ONNX operator at an opset of ONNX's own domain; nil if there is none.
  public static func find(_ opType: String, domain: String = "", opset: Int) -> ONNXFunction? {
    byName[opType]?.first { $0.domain == domain && $0.opsets.contains(opset) }
  }
}

/// Collects the operators that a function is made of, with their types.
public struct FunctionBuilder {
  /// Where a value comes from.
  public enum Source: Hashable, Sendable {
    /// An input of the node.
    case input(Int)
    /// An entry of ``FunctionBuilder/constants``.
    case constant(Int)
    /// A result of an entry of ``FunctionBuilder/steps``.
    case result(step: Int, index: Int)
  }

  /// A value of the function.
  public struct Term: Hashable, Sendable {
    public let source: Source
    public let type: TensorType
    var shape: TensorShape { type.shape }
    var rank: Int { type.rank }
  }

  /// One operator with its operands.
  public struct Step: Sendable {
    public let operation: any Operator
    public let operands: [Source?]
    public let results: [TensorType]
  }

  /// The node whose outputs are wanted.
  public let node: ONNXNode
  public private(set) var steps: [Step] = []
  public private(set) var constants: [TensorData] = []

  public init(_ node: ONNXNode) { self.node = node }

  /// Input `index` of the node.
  /// - Throws: ``GraftError`` if it is absent.
  func input(_ index: Int) throws -> Term {
    Term(source: .input(index), type: try node.input(index).type)
  }

  func optionalInput(_ index: Int) -> Term? {
    node.optionalInput(index).map { Term(source: .input(index), type: $0.type) }
  }

  mutating func constant(_ data: TensorData) -> Term {
    constants.append(data)
    return Term(
      source: .constant(constants.count - 1),
      type: TensorType(data.dtype, TensorShape(data.shape)))
  }

  /// A single number of the element type of `like`.
  /// - Throws: ``GraftError`` of kind `unsupported` if it does not fit.
  mutating func scalar(_ value: Double, like term: Term) throws -> Term {
    constant(try TensorData(packing: [value], as: term.type.dtype, shape: []))
  }

  mutating func matrix(_ rows: [[Double]], like term: Term) throws -> Term {
    constant(
      try TensorData(
        packing: rows.flatMap(\.self), as: term.type.dtype,
        shape: [rows.count, rows.first?.count ?? 0]))
  }

  /// The results of an operator.
  mutating func results(of operation: any Operator, _ operands: [Term?]) throws -> [Term] {
    let types = try Catalog.inferTypes(operation, operands.map { $0?.type })
    steps.append(
      Step(operation: operation, operands: operands.map { $0?.source }, results: types))
    let step = steps.count - 1
    return types.indices.map { Term(source: .result(step: step, index: $0), type: types[$0]) }
  }

  /// The first result of an operator.
  mutating func apply(_ operation: any Operator, _ operands: Term?...) throws -> Term {
    guard let result = try results(of: operation, operands).first else {
      throw GraftError(.inconsistency, "an operator without results")
    }
    return result
  }

  mutating func cast(_ x: Term, to dtype: DataType) throws -> Term {
    x.type.dtype == dtype ? x : try apply(Cast(to: dtype), x)
  }

  /// The second input of a pair as before opset 7, when it was aligned to the first by attributes.
  mutating func aligned(_ second: Term, to first: Term) throws -> Term {
    let shape = try node.broadcastingPair(Identity()).inputShapes[1]
    return try shape.map { try reshape(second, to: $0) } ?? second
  }

  mutating func reshape(_ x: Term, to shape: TensorShape) throws -> Term {
    x.shape == shape ? x : try apply(Reshape(shape: shape), x)
  }

  mutating func transpose(_ x: Term, by permutation: [Int]) throws -> Term {
    permutation == Array(permutation.indices)
      ? x : try apply(Transpose(permutation: permutation), x)
  }

  /// The same with axis `axis` moved to the end, and back.
  mutating func movedToEnd(
    _ axis: Int, of x: Term, _ body: (inout FunctionBuilder, Term) throws -> Term
  ) throws -> Term {
    var order = Array(0..<x.rank)
    order.append(order.remove(at: axis))
    let moved = try body(&self, try transpose(x, by: order))
    var back = Array(0..<(x.rank - 1))
    back.insert(x.rank - 1, at: axis)
    return try transpose(moved, by: back)
  }
}
