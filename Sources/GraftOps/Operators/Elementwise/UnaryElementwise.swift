// Shared code of unary elementwise operators: types, evaluation, layouts, ONNX form. Each
// operator's own file gives the function and its parameters.

import GraftDiagnostics
import GraftIR
import RealModule

/// An elementwise function of one tensor of any shape.
///
/// - C1: x has a floating-point type (or, where ``takesIntegers``, an integer one).
/// - C2: the parameters are numbers.
public protocol UnaryElementwise: ONNXExportable, QuantizableElementwise {
  /// The name of the ONNX operator; nil for one that only passes make.
  static var onnxName: String? { get }
  /// Whether shape arithmetic uses it too.
  static var takesIntegers: Bool { get }
  /// The parameters of the function, none of which may be a NaN.
  var parameters: [Double] { get }
  func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar
  /// The function on a shape value; nil if the result is neither an integer nor k·N.
  func apply(_ x: Dimension) -> Dimension?
  /// The fusible activation of the same function; nil if there is none.
  var fusedActivation: Activation? { get }
}

extension UnaryElementwise {
  public static var operands: [OperandRule] { [.required("x")] }
  public static var group: OperatorGroup { .arithmetic }
  public static var takesIntegers: Bool { false }
  public var parameters: [Double] { [] }
  public func apply(_ x: Dimension) -> Dimension? { nil }
  public var fusedActivation: Activation? { nil }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    if !(Self.takesIntegers && x.dtype.isInteger) { try requireReal("C1", x) }
    try require(
      "C2", !parameters.contains(where: \.isNaN), "parameters must not be NaN, found \(parameters)")
    return [TensorType(x.dtype, x.shape)]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    switch operands.first ?? nil {
    case .float32(let x): return [.float32(x.map { apply($0) })]
    case .float64(let x): return [.float64(x.map { apply($0) })]
    case .integer(let x) where Self.takesIntegers: return [.integer(try x.map(applyOrThrow))]
    default: throw GraftError(.invalidGraph, "\(Self.opcode) needs floating-point operands")
    }
  }

  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? {
    guard Self.takesIntegers, let x = values.first ?? nil else { return nil }
    return [try x.map(applyOrThrow)]
  }

  private func applyOrThrow(_ x: Dimension) throws -> Dimension {
    guard let result = apply(x) else {
      throw GraftError(
        .unsupported, "\(Self.opcode) of \(x) is neither an integer nor a multiple of the batch")
    }
    return result
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(results.first))
  }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    results.first?.dtype == .float32 ? .blocked : .plain
  }

  public var isElementwise: Bool { true }
  public func relateChannels(_ relations: inout ChannelRelations) throws {
    relations.carryElements()
  }
  public func permuted(by permutation: [Int]) -> PermutedOperator? {
    PermutedOperator(self, resultPermutation: permutation)
  }
  public var overwritableOperands: [Int] { [0] }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    try exported(attributes: [])
  }

  /// The ONNX node with these attributes.
  func exported(
    attributes: [(name: String, value: ONNXAttributeValue)]
  ) throws -> ExportedOperator {
    guard let name = Self.onnxName else {
      throw GraftError(.unsupported, "ONNX has no operator for \(Self.opcode)")
    }
    return ExportedOperator(name, attributes: attributes, inputs: [.operand(0)])
  }
}

extension GradientBuilder {
  /// dy / (constant + factor · x²), or dy divided by the root of that: the gradients of inverse functions.
  mutating func share(ofConstant constant: Double, square factor: Double, isRoot: Bool) throws
    -> ValueID
  {
    let x = try operand(0)
    let square = try scaled(try apply(Multiply(), [x, x]), by: factor)
    let sum = try apply(Add(), [square, try scalar(constant, like: x)])
    return try apply(Divide(), [try incoming(), isRoot ? try apply(SquareRoot(), [sum]) : sum])
  }
}

/// An elementwise function without parameters.
public protocol PlainUnaryElementwise: UnaryElementwise {
  init()
}

extension PlainUnaryElementwise {
  public init(attributes: Attributes) throws { self.init() }

  public static var onnx: [ONNXBinding] {
    guard let name = onnxName else { return [] }
    return [ONNXBinding(name) { _ in ImportedOperator(Self(), operands: [0]) }]
  }
}
