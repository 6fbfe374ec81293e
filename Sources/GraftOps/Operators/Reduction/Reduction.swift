// Reductions other than sums and means of real numbers: ONNX ReduceMax, ReduceMin and ReduceProd, ReduceSum of
// integers, and of constants also ReduceL1, ReduceL2, ReduceLogSum, ReduceLogSumExp and ReduceSumSquare, opsets
// 1, 11, 12, 13, 18 (axes as an input), 20 (booleans). ONNXFunction has the others of computed values.
// https://onnx.ai/onnx/operators/onnx__ReduceL2.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y = ``function`` of x over ``axes``, which are kept with extent 1 if ``keepsAxes``; without axes,
/// ``function`` of each element separately.
///
/// - C1: x is real, or of integers and the function is sum, prod, max or min, or of booleans and it is max or min.
/// - C2: axes are different axes of x, ascending.
/// - C3: each axis has a constant extent that is not 0.
public struct Reduction: Operator, ONNXExportable {
  public enum Function: String, Sendable, CaseIterable {
    /// Σ |x|
    case l1
    /// √ Σ x²
    case l2
    /// log Σ x
    case logSum = "log_sum"
    /// log Σ exp(x)
    case logSumExp = "log_sum_exp"
    case max
    case min
    case prod
    case sum
    /// Σ x²
    case sumSquare = "sum_square"

    var onnxName: String {
      switch self {
      case .l1: "ReduceL1"
      case .l2: "ReduceL2"
      case .logSum: "ReduceLogSum"
      case .logSumExp: "ReduceLogSumExp"
      case .max: "ReduceMax"
      case .min: "ReduceMin"
      case .prod: "ReduceProd"
      case .sum: "ReduceSum"
      case .sumSquare: "ReduceSumSquare"
      }
    }

    /// The first opset in which axes are an input.
    var axesAreInputFrom: Int { self == .sum ? 13 : 18 }
  }

  public static let opcode: Opcode = "reduce"
  public static let group = OperatorGroup.pooling
  public func axesWorkedAlong(rank: Int) -> [Int] { axes }
  public func relateChannels(_ relations: inout ChannelRelations) throws {
    relations.carryReduced(axes: axes, keepsAxes: keepsAxes)
  }
  public static let summary = "norm, product, minimum, maximum or log-sum over axes"
  public static let operands: [OperandRule] = [.required("x")]
  /// The norms and the logarithms of sums.
  public func isCompileTimeOnly(operands: [TensorType?], results: [TensorType]) -> Bool {
    ![.max, .min, .prod, .sum].contains(function)
  }

  public var function: Function
  /// Counted from the front, ascending.
  public var axes: [Int]
  public var keepsAxes: Bool

  public init(_ function: Function, axes: [Int], keepsAxes: Bool = true) {
    self.function = function
    self.axes = axes
    self.keepsAxes = keepsAxes
  }

  public init(attributes: Attributes) throws {
    let name = try attributes.string("function")
    guard let function = Function(rawValue: name) else {
      throw GraftError(.invalidGraph, "unknown reduction \(name.quotedForDisplay)")
    }
    self.init(
      function, axes: try attributes.ints("axes"),
      keepsAxes: try attributes.bool("keeps_axes", default: true))
  }

  public var attributes: Attributes {
    var attributes: Attributes = ["function": .string(function.rawValue), "axes": .ints(axes)]
    if !keepsAxes { attributes["keeps_axes"] = .bool(false) }
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    let takesIntegers = [.sum, .prod, .max, .min].contains(function)
    let takesBooleans = [.max, .min].contains(function)
    if !(takesIntegers && x.dtype.isInteger), !(takesBooleans && x.dtype == .bool) {
      try requireReal("C1", x)
    }
    try requireAxes("C2", axes, rank: x.rank)
    for axis in axes {
      try require(
        "C3", !x.shape[axis].isBatch && x.shape[axis] != 0,
        "axis \(axis) of \(x) must be constant and not empty")
    }
    return [TensorType(x.dtype, reducedShape(x.shape, axes: axes, keepsAxes: keepsAxes))]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    switch operands.first ?? nil {
    case .float32(let x):
      // Sums of many squares lose digits in single precision.
      let reduced = try reducing(x.map(Double.init), over: axes, to: extents[0], apply)
      return [.float32(reduced.map { Float($0) })]
    case .float64(let x): return [.float64(try reducing(x, over: axes, to: extents[0], apply))]
    case .integer(let x): return [.integer(try reduceIntegers(x, to: extents[0]))]
    case nil: throw GraftError(.invalidGraph, "operand 0 is missing")
    }
  }

  private func apply(_ x: ArraySlice<Double>) -> Double {
    switch function {
    case .l1: return x.reduce(0) { $0 + $1.magnitude }
    case .l2: return x.reduce(0) { $0 + $1 * $1 }.squareRoot()
    case .logSum: return Double.log(x.reduce(0, +))
    case .logSumExp:
      let largest = x.reduce(-.infinity, Swift.max)
      guard largest.isFinite else { return largest }
      return largest + Double.log(x.reduce(0) { $0 + Double.exp($1 - largest) })
    case .max: return x.reduce(-.infinity) { $1 > $0 || $1.isNaN ? $1 : $0 }
    case .min: return x.reduce(.infinity) { $1 < $0 || $1.isNaN ? $1 : $0 }
    case .prod: return x.reduce(1, *)
    case .sum: return x.reduce(0, +)
    case .sumSquare: return x.reduce(0) { $0 + $1 * $1 }
    }
  }

  /// Also on multiples of the batch: the number of a tensor's elements is a product of extents.
  private func reduceIntegers(
    _ x: DenseTensor<Dimension>, to extents: [Int]
  ) throws -> DenseTensor<Dimension> {
    let combine: (Dimension, Dimension) throws -> Dimension
    switch function {
    case .sum: combine = Add.applyToShapes
    case .prod: combine = Multiply.applyToShapes
    case .max: combine = { try requireShapeValue(Maximum.apply($0, $1), Self.opcode, $0, $1) }
    case .min: combine = { try requireShapeValue(Minimum.apply($0, $1), Self.opcode, $0, $1) }
    default: throw GraftError(.invalidGraph, "\(function.rawValue) of integers [C1]")
    }
    return try reducing(x, over: axes, to: extents) { elements in
      guard let first = elements.first else {
        throw GraftError(.invalidGraph, "a reduction over no elements [C3]")
      }
      return try elements.dropFirst().reduce(first, combine)
    }
  }

  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? {
    guard let x = values.first ?? nil, let extents = try foldableExtents(types)?.first else {
      return nil
    }
    return [try reduceIntegers(x, to: extents)]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(optionalOperand(0, of: operands)))
  }

  public static let onnx = Function.allCases.filter { $0 != .sum }.map { function in
    ONNXBinding(function.onnxName) { node in
      let (axes, keepsAxes) = try node.reduction(axesAreInputFrom: function.axesAreInputFrom)
      try node.refuseBatch(among: axes ?? [])
      return ImportedOperator(
        Reduction(function, axes: axes ?? [], keepsAxes: keepsAxes), operands: [0])
    }
  }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    guard opset >= function.axesAreInputFrom || !axes.isEmpty else {
      throw GraftError(
        .unsupported, "\(function.onnxName) over no axes cannot be written in opset \(opset)")
    }
    return try exportedReduction(
      function.onnxName, axes: axes, keepsAxes: keepsAxes,
      axesAreInputFrom: function.axesAreInputFrom, opset: opset)
  }
}

extension Reduction: DifferentiableOperator {
  /// With y the result with all axes kept: of a maximum or minimum dy in equal parts to the elements that are y,
  /// as PyTorch's amax has it; of a product dy times the product of the other elements.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let x = try builder.operand(0)
    let shape = builder.shape(of: x)
    let kept = reducedShape(shape, axes: axes, keepsAxes: true)
    let dy = try builder.reshaped(try builder.incoming(), to: kept)
    let y = try builder.reshaped(builder.result(), to: kept)
    let zero = try builder.scalar(0, like: x)
    switch function {
    case .max, .min:
      let isChosen = try builder.apply(Equal(), [x, y])
      let one = try builder.scalar(1, like: x)
      let chosen = try builder.apply(Where(), [isChosen, one, zero])
      let count = try builder.apply(ReduceSum(axes: axes, keepsAxes: true), [chosen])
      let share = try builder.apply(Divide(), [dy, count])
      try builder.setGradient(of: 0, try builder.apply(Multiply(), [chosen, share]))
    case .prod:
      // Zeros are left out of the product: one of them has the others' product as its slope, and where there is
      // one, no other element has any.
      let isZero = try builder.apply(Equal(), [x, zero])
      let one = try builder.scalar(1, like: x)
      let factors = try builder.apply(Where(), [isZero, one, x])
      let product = try builder.apply(Reduction(.prod, axes: axes), [factors])
      let zeros = try builder.apply(
        ReduceSum(axes: axes, keepsAxes: true),
        [try builder.apply(Where(), [isZero, one, zero])])
      let others = try builder.apply(
        Where(), [try builder.apply(Equal(), [zeros, one]), product, zero])
      let slope = try builder.apply(
        Where(), [isZero, others, try builder.apply(Divide(), [y, factors])])
      try builder.setGradient(of: 0, try builder.apply(Multiply(), [slope, dy]))
    case .l1, .l2, .logSum, .logSumExp, .sum, .sumSquare:
      throw GraftError(.unsupported, "the gradient of the reduction \(function.rawValue)")
    }
  }
}
