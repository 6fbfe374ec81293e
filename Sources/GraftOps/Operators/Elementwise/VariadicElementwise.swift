// Shared code of variadic sum, min and max. A sum of two is Add, which kernels fuse.

import GraftDiagnostics
import GraftIR
import RealModule

/// An associative elementwise function of one or more tensors with multidirectional broadcasting.
///
/// - C1: the operands have one element type.
/// - C2: their shapes broadcast.
public protocol VariadicElementwise: ONNXExportable {
  static var onnxName: String { get }
  init()
  static func apply<Scalar: Real & BinaryFloatingPoint>(_ a: Scalar, _ b: Scalar) -> Scalar
  /// The function on shape values; nil if the result is neither an integer nor k·N.
  static func apply(_ a: Dimension, _ b: Dimension) -> Dimension?
}

extension VariadicElementwise {
  public var isElementwise: Bool { true }
  public func relateChannels(_ relations: inout ChannelRelations) throws {
    relations.carryElements()
  }
  public static var group: OperatorGroup { .arithmetic }
  public static var operands: [OperandRule] { [.variadic("x")] }
  public init(attributes: Attributes) throws { self.init() }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let types = try operands.indices.map { try operand($0, of: operands) }
    let first = try operand(0, of: operands)
    try require(
      "C1", types.allSatisfy { $0.dtype == first.dtype },
      "operands must have one type, found "
        + types.map(\.description).joined(separator: " and "))
    return [TensorType(first.dtype, try broadcast(types.map(\.shape), label: "C2"))]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    let present = operands.compactMap(\.self)
    switch present.first {
    case .float32:
      return [
        .float32(
          try fold(
            present.map { if case .float32(let x) = $0 { x } else { throw mixed() } }, extents[0],
            Self.apply))
      ]
    case .float64:
      return [
        .float64(
          try fold(
            present.map { if case .float64(let x) = $0 { x } else { throw mixed() } }, extents[0],
            Self.apply))
      ]
    case .integer:
      return [
        .integer(
          try fold(
            present.map { if case .integer(let x) = $0 { x } else { throw mixed() } }, extents[0],
            Self.applyOrThrow))
      ]
    case nil: throw GraftError(.invalidGraph, "operand 0 is missing")
    }
  }

  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? {
    let known = values.compactMap(\.self)
    guard known.count == values.count, let extents = try foldableExtents(types)?.first
    else { return nil }
    return [try fold(known, extents, Self.applyOrThrow)]
  }

  private func fold<Element>(
    _ operands: [DenseTensor<Element>], _ extents: [Int],
    _ body: (Element, Element) throws -> Element
  ) throws -> DenseTensor<Element> {
    var result = try broadcasting(operands[0], operands[0], to: extents) { a, _ in a }
    for operand in operands.dropFirst() {
      result = try broadcasting(result, operand, to: extents, body)
    }
    return result
  }

  private static func applyOrThrow(_ a: Dimension, _ b: Dimension) throws -> Dimension {
    try requireShapeValue(apply(a, b), opcode, a, b)
  }

  private func mixed() -> GraftError {
    GraftError(.invalidGraph, "\(Self.opcode) needs operands of one element type")
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(
      multiplyAdds: saturatingProduct([elementCount(results.first), max(operands.count - 1, 0)]))
  }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    guard let result = results.first, result.rank == 4, result.dtype == .float32,
      operands.compactMap(\.self).allSatisfy({ $0.shape == result.shape })
    else { return .plain }
    return .blocked
  }

  public var overwritableOperands: [Int] { [0] }

  public static var onnx: [ONNXBinding] {
    [
      ONNXBinding(onnxName, opsets: 1...7) { node in
        let shapes = node.inputs.compactMap { $0?.type.shape }
        guard shapes.allSatisfy({ $0 == shapes.first }) else {
          throw GraftError(.invalidModel, "\(onnxName) broadcasts only since opset 8")
        }
        return ImportedOperator(Self(), operands: Array(node.inputs.indices))
      },
      ONNXBinding(onnxName, since: 8) { node in
        ImportedOperator(Self(), operands: Array(node.inputs.indices))
      },
    ]
  }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator(Self.onnxName, inputs: operands.indices.map { .operand($0) })
  }
}

extension VariadicElementwise {
  /// The gradient of a function that selects one operand: it goes to the selected operand, in
  /// equal halves to two that are equal, as in PyTorch. Several operands are compared pairwise in order.
  /// - Parameter difference: The difference between the result so far and the next operand, positive where
  ///   the result so far is selected.
  func buildGradientOfChoice(
    _ builder: inout GradientBuilder,
    difference: (inout GradientBuilder, ValueID, ValueID) throws -> ValueID
  ) throws {
    let shape = builder.shape(of: builder.result())
    let operands = try builder.node.operands.indices.map { try builder.operand($0) }
    // For each operand but the first, the result over the operands before it.
    var chosen: [ValueID] = []
    for operand in operands.dropLast() {
      let whole =
        builder.shape(of: operand) == shape
        ? operand : try builder.apply(Expand(shape: shape), [operand])
      chosen.append(try chosen.last.map { try builder.apply(Self(), [$0, whole]) } ?? whole)
    }
    var gradient = try builder.incoming()
    let mask = ActivationGradient(activation: .relu)
    for (index, before) in chosen.enumerated().reversed() {
      let ahead = try difference(&builder, before, operands[index + 1])
      let behind = try builder.apply(Negate(), [ahead])
      // dy where the result so far is selected, −dy where the operand is, 0 where they are equal.
      let lead = try builder.apply(
        Subtract(),
        [
          try builder.apply(mask, [gradient, ahead]), try builder.apply(mask, [gradient, behind]),
        ])
      if builder.wants(index + 1) {
        let twice = try builder.apply(Subtract(), [gradient, lead])
        try builder.setGradient(of: index + 1, summing: try builder.scaled(twice, by: 0.5))
      }
      gradient = try builder.scaled(try builder.apply(Add(), [gradient, lead]), by: 0.5)
    }
    if builder.wants(0) { try builder.setGradient(of: 0, summing: gradient) }
  }
}
