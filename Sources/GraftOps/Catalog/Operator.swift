// What an operator is: every facet that the compiler asks for, in one protocol, so that an operator is
// one file. The list of all operators is Catalog; running a graph of them is ReferenceEvaluator.

import GraftDiagnostics
import GraftIR
import RealModule

/// One operand position of an operator.
public struct OperandRule: Hashable, Sendable {
  public enum Presence: Hashable, Sendable {
    case required
    case optional
    /// This one and any number after it; only for the last rule.
    case variadic
  }

  public let name: String
  public let presence: Presence
  public let role: OperandRole

  public static func required(_ name: String, _ role: OperandRole = .value) -> OperandRule {
    .init(name: name, presence: .required, role: role)
  }
  public static func optional(_ name: String, _ role: OperandRole = .value) -> OperandRule {
    .init(name: name, presence: .optional, role: role)
  }
  public static func variadic(_ name: String) -> OperandRule {
    .init(name: name, presence: .variadic, role: .value)
  }
}

/// What an operand is to an operator.
public enum OperandRole: Hashable, Sendable {
  /// What it computes with, in most operators a result of others.
  case value
  /// The weights of a convolution.
  case weight
  /// One of the two factors of a product of matrices: a parameter there is a weight.
  case factor
  /// Rows that indices choose, such as the vectors of an embedding.
  case table
  /// What x, or a normalized x, is multiplied by.
  case scale
  /// What is added to a product, a convolution or a normalized x.
  case bias
  /// What a normalization subtracts.
  case mean
  /// By whose root a normalization divides.
  case variance
  /// What is added to the result before its activation.
  case residual

  /// Whether training follows it by averages over batches, instead of by gradients.
  public var isStatistic: Bool { self == .mean || self == .variance }

  /// The number that leaves x as it is where every element of the operand is that number.
  public var neutral: Double? {
    switch self {
    case .scale, .variance: 1
    case .bias, .mean, .residual: 0
    case .value, .weight, .factor, .table: nil
    }
  }
}

/// How an operator's operands and results may be in memory.
public enum LayoutSupport: Hashable, Sendable {
  /// Row-major only.
  case plain
  /// Row-major, or all rank-4 operands and results channel-blocked with the same block.
  case blocked
  /// Row-major, or all rank-4 operands channel-blocked; the results are row-major either way.
  case reducing
  /// Joins two layouts; only `convert_layout`.
  case conversion
}

/// The arithmetic of one node at batch size 1.
public struct OperatorCost: Hashable, Sendable {
  /// Multiply-adds; a convolution of 1×1×C×K on H×W pixels has H·W·C·K.
  public var multiplyAdds: Int
  public init(multiplyAdds: Int) { self.multiplyAdds = multiplyAdds }
}

/// An operator with its attributes.
///
/// Constraints are labeled C1, C2 … in the doc comment of each operator and cited by the errors that
/// ``inferTypes(_:)`` throws.
public protocol Operator: Sendable {
  /// The name in the IR.
  static var opcode: Opcode { get }
  /// One line for `docs/operators.md` and the HTML page.
  static var summary: String { get }
  static var operands: [OperandRule] { get }
  static var resultNames: [String] { get }
  /// Its place in the legend of the HTML page, and its color in drawings.
  static var group: OperatorGroup { get }
  /// How ONNX writes it; empty for operators that only passes make.
  static var onnx: [ONNXBinding] { get }
  /// Whether the operator exists for shape arithmetic alone: no kernel computes it, so the importer
  /// refuses one that shape folding leaves in the network.
  static var isCompileTimeOnly: Bool { get }
  /// The same for one node, where it depends on its types.
  func isCompileTimeOnly(operands: [TensorType?], results: [TensorType]) -> Bool
  /// What would mend a network that needs a kernel for it; nil for nothing in particular.
  var compileTimeAdvice: String? { get }
  /// Whether each element of a result depends only on those at its place in the operands, which are
  /// broadcast.
  var isElementwise: Bool { get }
  /// Whether the result has the elements of operand 0, each once and in any order, but for rounding.
  var keepsValues: Bool { get }
  /// Whether elements of the results are sums, means, extremes or copies of elements of the operands, so
  /// that of logits it makes logits.
  static var keepsScores: Bool { get }
  /// The number that leaves the other operands as they are where all of operand `position` is it; nil where
  /// there is none.
  static func neutral(at position: Int) -> Double?
  /// Whether two nodes with the same operands give different results while training.
  static var isRandom: Bool { get }

  /// Reads typed attributes from data.
  /// - Throws: ``GraftError`` of kind `invalidGraph` naming the attribute.
  init(attributes: Attributes) throws
  /// The attributes as data; `init(attributes:)` of it gives an equal operator.
  var attributes: Attributes { get }

  /// The types of the results, in plain layout.
  /// - Parameter operands: one entry for each operand position, nil if an optional one is absent.
  /// - Throws: ``GraftError`` citing the constraint that does not hold: `unsupported` for an element
  ///   type that Graft does not compute in, else `invalidGraph`.
  func inferTypes(_ operands: [TensorType?]) throws -> [TensorType]

  /// Computes the results in plain Swift.
  /// - Parameter extents: the shape of each result at the batch that is being evaluated.
  func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor]

  /// Shape arithmetic: the results from the operands' types and the integer operands that are known,
  /// nil if they cannot be known at compile time.
  func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]?

  /// The axes of operand 0, of rank `rank`, along which elements of the results depend on several places of
  /// the operand, or on another place than their own. The free batch cannot stand there: an image's result
  /// would depend on the other images. An operator that refuses k·N in ``inferTypes(_:)`` need not say so.
  func axesWorkedAlong(rank: Int) -> [Int]

  /// The operator on operands with their axes in another order; nil if it works on one order only.
  /// Operands that hold one number for each channel stay as they are.
  /// - Parameter permutation: axis i of what it reads now is axis `permutation[i]` of what it would read.
  func permuted(by permutation: [Int]) -> PermutedOperator?

  /// What computes the same and is simpler, or says it in the one form that passes look for; nil if the
  /// node stays. Only nodes with one result are asked.
  func simplified(_ node: SimplifiableNode) throws -> Simplification?

  /// The value of the node's only result made of other operators, where ONNX has none for it.
  /// - Returns: nil if the node has an ONNX form of its own.
  func decomposed(_ builder: inout DecompositionBuilder) throws -> ValueID?

  func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost

  /// Which layouts the kernels of this operator take for operands and results of these types.
  func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport

  /// The physical zero padding that the kernel needs round an operand in blocked layout.
  func border(ofOperand index: Int, types: [TensorType?]) -> (height: Int, width: Int)

  /// Operands whose memory the first result may take when nothing reads them later: the kernel reads
  /// each element before it writes the element at the same place.
  var overwritableOperands: [Int] { get }

  /// Whether the first result is the first operand's memory under another shape, in plain layout.
  var isView: Bool { get }
}

extension Operator {
  public static var resultNames: [String] { ["y"] }
  public static var onnx: [ONNXBinding] { [] }
  public static var isCompileTimeOnly: Bool { false }
  public func isCompileTimeOnly(operands: [TensorType?], results: [TensorType]) -> Bool {
    Self.isCompileTimeOnly
  }
  public var compileTimeAdvice: String? { nil }
  public var isElementwise: Bool { false }
  public var keepsValues: Bool { false }
  public static var keepsScores: Bool {
    [.convolution, .matrix, .pooling, .movement].contains(group)
  }
  public static func neutral(at position: Int) -> Double? { role(at: position).neutral }
  public static var isRandom: Bool { false }
  public func axesWorkedAlong(rank: Int) -> [Int] { [] }
  public func permuted(by permutation: [Int]) -> PermutedOperator? { nil }
  public func simplified(_ node: SimplifiableNode) throws -> Simplification? { nil }
  public func decomposed(_ builder: inout DecompositionBuilder) throws -> ValueID? { nil }
  public var attributes: Attributes { [:] }
  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? { nil }
  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: 0)
  }
  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    .plain
  }
  public func border(ofOperand index: Int, types: [TensorType?]) -> (height: Int, width: Int) {
    (0, 0)
  }
  public var overwritableOperands: [Int] { [] }
  public var isView: Bool { false }

  /// What operand `position` is.
  public static func role(at position: Int) -> OperandRole {
    operands.indices.contains(position) ? operands[position].role : .value
  }

  /// The first operand position of that role; nil if there is none.
  public static func position(of role: OperandRole) -> Int? {
    operands.firstIndex { $0.role == role }
  }

  /// The extents of the results where shape arithmetic may compute them: they are constant, and few
  /// enough elements that a hostile file cannot fill the memory with them.
  func foldableExtents(_ types: [TensorType?]) throws -> [[Int]]? {
    let results = try Catalog.inferTypes(self, types)
    let extents = results.compactMap(\.shape.constants)
    guard extents.count == results.count,
      extents.allSatisfy({ $0.reduce(1, *) <= largestFoldedCount })
    else { return nil }
    return extents
  }
}

/// Shape arithmetic is of a few numbers; a larger constant stays a node.
let largestFoldedCount = 1 << 16

/// An operator on real numbers, evaluated by one generic function in single and double precision.
public protocol RealOperator: Operator {
  func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>]
}

extension RealOperator {
  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    let isDouble = operands.contains { if case .float64 = $0 { true } else { false } }
    if isDouble {
      let reals = try operands.map { operand -> DenseTensor<Double>? in
        switch operand {
        case nil: return nil
        case .float64(let tensor): return tensor
        default: throw mixedElements()
        }
      }
      return try evaluate(real: reals, extents: extents).map { .float64($0) }
    }
    let reals = try operands.map { operand -> DenseTensor<Float>? in
      switch operand {
      case nil: return nil
      case .float32(let tensor): return tensor
      default: throw mixedElements()
      }
    }
    return try evaluate(real: reals, extents: extents).map { .float32($0) }
  }

  private func mixedElements() -> GraftError {
    GraftError(.invalidGraph, "\(Self.opcode) needs operands of one floating-point type")
  }
}

/// An operator that only moves elements, whatever they are: it serves shape arithmetic as it is.
public protocol StructuralOperator: Operator {
  func evaluate<Element: Sendable>(
    moving operands: [DenseTensor<Element>], extents: [[Int]]
  ) throws -> [DenseTensor<Element>]
}

extension StructuralOperator {
  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    let present = operands.compactMap(\.self)
    switch present.first {
    case .float32:
      return try evaluate(
        moving: present.map { if case .float32(let t) = $0 { t } else { throw mixed() } },
        extents: extents
      ).map { .float32($0) }
    case .float64:
      return try evaluate(
        moving: present.map { if case .float64(let t) = $0 { t } else { throw mixed() } },
        extents: extents
      ).map { .float64($0) }
    case .integer:
      return try evaluate(
        moving: present.map { if case .integer(let t) = $0 { t } else { throw mixed() } },
        extents: extents
      ).map { .integer($0) }
    case nil:
      throw GraftError(.invalidGraph, "\(Self.opcode) needs an operand")
    }
  }

  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? {
    let known = values.compactMap(\.self)
    guard known.count == values.count, !known.isEmpty,
      let extents = try foldableExtents(types)
    else { return nil }
    return try evaluate(moving: known, extents: extents)
  }

  private func mixed() -> GraftError {
    GraftError(.invalidGraph, "\(Self.opcode) needs operands of one element type")
  }
}
