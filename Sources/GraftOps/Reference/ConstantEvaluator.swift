// Computes nodes whose operands are all constants, whatever the operator, by its reference function: in
// double precision where numbers are computed, rounded once, and piece by piece where the operator works
// element by element, so that the largest weights cost no more memory than their result.

import GraftDiagnostics
import GraftIR

/// Evaluates nodes on constants.
public enum ConstantEvaluator {
  /// The number of elements computed at once for elementwise operators.
  static let pieceSize = 1 << 16

  /// The results of `node`, in the element types that the graph gives them.
  /// - Throws: ``GraftError`` that names the node: where an operand is no parameter with data, a result has
  ///   no constant shape, or the operator cannot be evaluated.
  public static func evaluate(_ node: Node, in graph: Graph) throws -> [TensorData] {
    try at(graph.location(of: node)) {
      let operands = try node.operands.map { id -> TensorData? in
        guard let id else { return nil }
        guard let data = graph[id].parameter?.data else {
          throw GraftError(.invalidGraph, "an operand is not a constant")
        }
        return data
      }
      return try evaluate(
        Catalog.operation(of: node), operands, results: graph.resultTypes(of: node))
    }
  }

  static func evaluate(
    _ operation: any Operator, _ operands: [TensorData?], results: [TensorType]
  ) throws -> [TensorData] {
    let extents = try results.map { type -> [Int] in
      guard let extents = type.shape.constants else {
        throw GraftError(.invalidGraph, "the result \(type) depends on the batch")
      }
      return extents
    }
    if operation.isView, let x = operands.first ?? nil, results.count == 1,
      x.dtype == results[0].dtype
    {
      return [try x.reshaped(to: extents[0])]
    }
    if operation.isElementwise, results.count == 1,
      extents[0].reduce(1, *) > Self.pieceSize
    {
      return [try evaluateInPieces(operation, operands, results[0].dtype, extents[0])]
    }
    let precision = precision(of: operation, operands)
    let tensors = try operation.evaluate(
      try operands.map { try $0.map { try HostTensor($0, precision: precision) } },
      extents: extents)
    guard tensors.map(\.shape) == extents else {
      throw GraftError(
        .inconsistency, "evaluation gave \(tensors.map(\.shape)), the types say \(extents)")
    }
    return try zip(tensors, results).map { tensor, type in
      try tensor.data(as: type.dtype)
    }
  }

  /// Moving elements needs no more than the precision that they have.
  private static func precision(
    of operation: any Operator, _ operands: [TensorData?]
  ) -> HostTensor.Precision {
    let isWide = operands.contains { $0?.dtype == .float64 }
    return operation is any StructuralOperator && !isWide ? .single : .double
  }

  /// Goes through the outermost axes of the result; operands that are broadcast along them are taken whole.
  private static func evaluateInPieces(
    _ operation: any Operator, _ operands: [TensorData?], _ dtype: DataType, _ extents: [Int]
  ) throws -> TensorData {
    let isFlat = operands.allSatisfy { $0 == nil || $0?.shape == extents || $0?.elementCount == 1 }
    // Operands of one shape, except scalars, are processed as rows of one element.
    let shape = isFlat ? [extents.reduce(1, *)] : extents
    let rowSize = shape.dropFirst().reduce(1, *)
    let rows = max(1, Self.pieceSize / max(1, rowSize))
    let isSliced = operands.map { operand -> Bool in
      guard let operand else { return false }
      if isFlat { return operand.elementCount > 1 }
      return operand.shape.count == shape.count && operand.shape[0] > 1
    }
    let whole = try zip(operands, isSliced).map { operand, isSliced -> HostTensor? in
      guard let operand, !isSliced else { return nil }
      let scalar = isFlat ? try operand.reshaped(to: [1]) : operand
      return try HostTensor(scalar, precision: .double)
    }
    let size = dtype.byteCount
    var bytes: [UInt8] = []
    bytes.reserveCapacity(shape[0] * rowSize * size)
    for start in stride(from: 0, to: shape[0], by: rows) {
      let end = min(start + rows, shape[0])
      let part = [end - start] + shape.dropFirst()
      let pieces = try operands.indices.map { index -> HostTensor? in
        guard isSliced[index], let operand = operands[index] else { return whole[index] }
        let own = isFlat ? [shape[0]] : operand.shape
        let width = own.dropFirst().reduce(1, *)
        let piece = try operand.part(
          (start * width)..<(end * width), shape: [end - start] + own.dropFirst())
        return try HostTensor(piece, precision: .double)
      }
      guard let tensor = try operation.evaluate(pieces, extents: [part]).first else {
        throw GraftError(.inconsistency, "evaluation returned no result")
      }
      try tensor.data(as: dtype).withUnsafeBytes { bytes.append(contentsOf: $0) }
    }
    return try TensorData(dtype, extents, in: MemoryBytes(bytes))
  }
}

extension HostTensor {
  /// The elements as `dtype`, rounded once.
  func data(as dtype: DataType) throws -> TensorData {
    switch self {
    case .float32(let tensor) where dtype == .float32:
      return try TensorData(tensor.elements, shape: tensor.shape)
    case .float32(let tensor):
      return try TensorData(
        packing: tensor.elements.map(Double.init), as: dtype, shape: tensor.shape)
    case .float64(let tensor):
      return try TensorData(packing: tensor.elements, as: dtype, shape: tensor.shape)
    case .integer(let tensor):
      let known = tensor.elements.compactMap(\.constant)
      guard known.count == tensor.elements.count else {
        throw GraftError(.unsupported, "its result depends on the batch")
      }
      return try TensorData(packing: known, as: dtype, shape: tensor.shape)
    }
  }
}

extension Graph {
  /// Puts parameters with the results of a node, whose operands are all constants, in its place.
  /// - Parameters:
  ///   - name: of a result without one.
  ///   - derivation: what the parameters are.
  /// - Throws: as ``ConstantEvaluator/evaluate(_:in:)``; nothing has changed then.
  public mutating func replaceByConstants(
    _ node: Node, named name: String, derivation: String, isLiteral: Bool = false
  ) throws {
    let results = try ConstantEvaluator.evaluate(node, in: self)
    for (value, data) in zip(node.results, results)
    where !readers(of: value).isEmpty || isOutput(value) {
      let name = self[value].name ?? name
      self[value].name = nil
      let constant = addParameter(
        unusedName(name), type(of: value),
        Parameter(derivation: derivation, isLiteral: isLiteral, data: data))
      replaceUses(of: value, with: constant)
    }
    remove(node.id)
  }
}
