// The operator protocol, with all properties that the compiler uses, so that an operator is one file. Catalog
// lists all operators; ReferenceEvaluator runs graphs.

import GraftDiagnostics
import GraftIR
import RealModule

/// One operand position of an operator.
public struct OperandRule: Hashable, Sendable {
  public enum Presence: Hashable, Sendable {
    case required
    case optional
    /// Variadic; only for the last rule.
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

/// The role of an operand.
public enum OperandRole: Hashable, Sendable {
  /// Data, usually the result of another operator.
  case value
  /// The weights of a convolution.
  case weight
  /// One of the two factors of a product of matrices: a parameter there is a weight.
  case factor
  /// A table of rows selected by indices, such as an embedding.
  case table
  /// The scale of x or of a normalized x.
  case scale
  /// The bias of a product, a convolution or a normalized x.
  case bias
  /// The mean of a normalization.
  case mean
  /// The variance of a normalization.
  case variance
  /// The residual that is added to the result before its activation.
  case residual

  /// Whether training updates it by a moving average instead of gradients.
  public var isStatistic: Bool { self == .mean || self == .variance }

  /// The neutral element: the value of the operand for which the result equals x.
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
  /// Row-major operands; the results are row-major, or all of rank 4 channel-blocked.
  case spreading
  /// Converts between layouts; only `convert_layout`.
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
  /// The ONNX bindings; empty for operators that only passes create.
  static var onnx: [ONNXBinding] { get }
  /// Whether the operator is only for shape arithmetic: it has no kernel, so the importer rejects nodes that
  /// do not fold.
  static var isCompileTimeOnly: Bool { get }
  /// The same for a node with these types.
  func isCompileTimeOnly(operands: [TensorType?], results: [TensorType]) -> Bool
  /// Advice for a network that needs a kernel for it; nil for none.
  var compileTimeAdvice: String? { get }
  /// Whether the operator is elementwise with broadcasting.
  var isElementwise: Bool { get }
  /// Whether the result is a permutation of the elements of operand 0, except for rounding.
  var keepsValues: Bool { get }
  /// Whether elements of the results are sums, means, minima, maxima or copies of elements of the operands,
  /// so that results of logits are logits.
  static var keepsScores: Bool { get }
  /// The neutral element of operand `position`, for which the result equals the other operand; nil if there
  /// is none.
  static func neutral(at position: Int) -> Double?
  /// Whether two nodes with the same operands can have different results in training.
  static var isRandom: Bool { get }

  /// Reads typed attributes from data.
  /// - Throws: ``GraftError`` of kind `invalidGraph` naming the attribute.
  init(attributes: Attributes) throws
  /// The attributes as data, from which `init(attributes:)` creates an equal operator.
  var attributes: Attributes { get }

  /// The types of the results, in plain layout.
  /// - Parameter operands: one entry for each operand position, nil if an optional one is absent.
  /// - Throws: ``GraftError`` citing the constraint that does not hold: `unsupported` for an element
  ///   type that Graft does not compute in, else `invalidGraph`.
  func inferTypes(_ operands: [TensorType?]) throws -> [TensorType]

  /// Computes the results in plain Swift.
  /// - Parameter extents: the shape of each result at the batch that is being evaluated.
  func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor]

  /// Shape arithmetic: the results from the operands' types and known integer operands; nil if they are not
  /// known at compile time.
  func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]?

  /// The axes of operand 0, of rank `rank`, along which result elements depend on elements at other indices.
  /// They cannot be the dynamic batch, because an image's result would depend on other images. Axes for which
  /// ``inferTypes(_:)`` rejects k·N need not be included.
  func axesWorkedAlong(rank: Int) -> [Int]

  /// The equivalent operator on operands with permuted axes; nil if there is none. Per-channel operands are
  /// not permuted.
  /// - Parameter permutation: axis i of the current operand is axis `permutation[i]` of the new one.
  func permuted(by permutation: [Int]) -> PermutedOperator?

  /// Says which indices along the axes of operands and results are one channel, which structured pruning removes
  /// as a whole. The default understands none, so that all indices stay.
  func relateChannels(_ relations: inout ChannelRelations) throws

  /// The operator on operands of which only these indices stay.
  func keeping(_ channels: KeptChannels) -> any Operator

  /// A simpler or canonical equivalent of a node with one result; nil if there is none.
  func simplified(_ node: SimplifiableNode) throws -> Simplification?

  /// The decomposition of the node's only result into other operators, if ONNX has no equivalent.
  /// - Returns: nil if the node has an ONNX equivalent.
  func decomposed(_ builder: inout DecompositionBuilder) throws -> ValueID?

  func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost

  /// The layouts that the operator's kernels support for operands and results of these types.
  func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport

  /// The physical zero padding that the kernel needs around an operand in blocked layout.
  func border(ofOperand index: Int, types: [TensorType?]) -> (height: Int, width: Int)

  /// What that padding holds: 0, or the zero point of a quantized operand.
  func borderValue(ofOperand index: Int) -> Int

  /// Operands that the first result may overwrite if they have no later readers: the kernel reads each
  /// element before it writes the element at the same address.
  var overwritableOperands: [Int] { get }

  /// Whether its kernels take uint8 images in blocks of channels, not only float32 ones.
  var takesBlocksOfBytes: Bool { get }

  /// Whether it converts every element by itself, from any layout to any layout.
  var convertsElements: Bool { get }

  /// Whether the first result is a view of the first operand with another shape, in plain layout.
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
  public func relateChannels(_ relations: inout ChannelRelations) throws {}
  public func keeping(_ channels: KeptChannels) -> any Operator { self }
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
  public func borderValue(ofOperand index: Int) -> Int { 0 }
  public var overwritableOperands: [Int] { [] }
  public var takesBlocksOfBytes: Bool { false }
  public var convertsElements: Bool { false }
  public var isView: Bool { false }

  /// The role of operand `position`.
  public static func role(at position: Int) -> OperandRole {
    operands.indices.contains(position) ? operands[position].role : .value
  }

  /// The first operand position of that role; nil if there is none.
  public static func position(of role: OperandRole) -> Int? {
    operands.firstIndex { $0.role == role }
  }

  /// The extents of the results if shape arithmetic may compute them: constant, and small enough that a
  /// malicious file cannot exhaust memory.
  func foldableExtents(_ types: [TensorType?]) throws -> [[Int]]? {
    let results = try Catalog.inferTypes(self, types)
    let extents = results.compactMap(\.shape.constants)
    guard extents.count == results.count,
      extents.allSatisfy({ $0.reduce(1, *) <= largestFoldedCount })
    else { return nil }
    return extents
  }
}

/// The maximum number of elements in shape arithmetic; larger constants remain nodes.
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

/// An operator that only moves elements of any type, which also applies to shape arithmetic.
public protocol StructuralOperator: Operator {
  /// Whether results can have elements that no operand has.
  var addsElements: Bool { get }

  /// The operator on bytes that stand for the elements; nil if there is none.
  func onBytes(_ quantization: Quantization) -> (any Operator)?

  func evaluate<Element: Sendable>(
    moving operands: [DenseTensor<Element>], extents: [[Int]]
  ) throws -> [DenseTensor<Element>]
}

extension StructuralOperator {
  public var addsElements: Bool { false }

  public func relateChannels(_ relations: inout ChannelRelations) throws {
    if !addsElements { try relations.move(by: self) }
  }

  public func onBytes(_ quantization: Quantization) -> (any Operator)? {
    addsElements || Self.group != .movement ? nil : self
  }

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
