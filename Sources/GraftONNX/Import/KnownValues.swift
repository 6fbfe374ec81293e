// Constant folding during import: shape computations are evaluated here, with a symbolic batch, and do not
// become nodes. Passes fold weights.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The remaining memory for folded constants of the whole model.
struct FoldingBudget {
  private var remaining: Int

  init(bytes: Int) { remaining = bytes }

  /// - Throws: ``GraftError`` of kind `unsupported` if nothing is left.
  mutating func take(_ elements: Int, of dtype: DataType) throws {
    let (bytes, overflow) = elements.multipliedReportingOverflow(by: dtype.byteCount)
    guard !overflow, bytes <= remaining else {
      throw GraftError(
        .unsupported,
        "\(elements) more constant elements would exceed the memory limit of constant folding "
          + "during import")
    }
    remaining -= bytes
  }
}

/// The known operands of a node.
struct KnownValues {
  /// Tensors with more elements are never folded here.
  static let largestElementCount = 1 << 16
  /// The maximum number of elements of a sequence.
  static let largestSequence = 1 << 16
  /// Nodes that need more multiplications are left to the passes.
  private static let largestCost = 1 << 20

  private let results: [TensorType]
  private var integers: [DenseTensor<Dimension>?] = []
  private var tensors: [HostTensor?] = []
  private var areAllKnown = true
  /// Whether an operand is more than a floating-point weight of the file.
  private var isWorthFolding = false
  /// Whether an operand is a floating-point tensor of the file that may train, such as a table of biases.
  private var readsWeight = false
  /// Scales and regions of a Resize have no more elements.
  private static let mostScales = 16

  init(results: [TensorType]) { self.results = results }

  /// The elements of a small integer or boolean tensor.
  static func integers(of data: TensorData) -> DenseTensor<Dimension>? {
    guard data.elementCount <= largestElementCount, let integers = data.integers() else {
      return nil
    }
    return try? DenseTensor(shape: data.shape, elements: integers.map { Dimension($0) })
  }

  mutating func add(_ data: TensorData, isFolded: Bool) {
    let known = Self.integers(of: data)
    integers.append(known)
    if let known {
      tensors.append(.integer(known))
    } else if data.elementCount <= Self.largestElementCount, data.dtype.isFloatingPoint {
      let precision: HostTensor.Precision = data.dtype == .float64 ? .double : .single
      tensors.append(try? HostTensor(data, precision: precision))
    } else {
      tensors.append(nil)
    }
    if tensors.last == .some(nil) { areAllKnown = false }
    if isFolded || known != nil || data.elementCount == 1 { isWorthFolding = true }
    if !isFolded, known == nil, data.elementCount > Self.mostScales { readsWeight = true }
  }

  mutating func add(_ tensor: DenseTensor<Dimension>) {
    integers.append(tensor)
    tensors.append(.integer(tensor))
    isWorthFolding = true
  }

  mutating func addUnknown(isAbsent: Bool) {
    integers.append(nil)
    tensors.append(nil)
    if !isAbsent { areAllKnown = false }
  }

  /// The results of `operation`; nil if it has to run.
  func fold(
    _ operation: any Operator, _ types: [TensorType?], budget: inout FoldingBudget
  ) throws -> [Converter.Imported]? {
    for result in results {
      guard let count = result.shape.elementCount?.constant, count <= Self.largestElementCount
      else { return nil }
    }
    if let folded = try operation.foldShapes(types: types, values: integers),
      folded.count == results.count
    {
      // An element of a known shape takes as much as an integer with its kind.
      for tensor in folded { try budget.take(3 * tensor.elements.count, of: .int64) }
      return try zip(folded, results).map { try Self.imported($0, $1.dtype) }
    }
    guard areAllKnown, isWorthFolding, !readsWeight else { return nil }
    let extents = results.compactMap(\.shape.constants)
    guard extents.count == results.count,
      operation.cost(operands: types, results: results).multiplyAdds <= Self.largestCost,
      let evaluated = try? operation.evaluate(tensors, extents: extents)
    else { return nil }
    for type in results { try budget.take(type.shape.elementCount?.constant ?? 0, of: .int64) }
    return try zip(evaluated, results).map { tensor, type in
      switch tensor {
      case .integer(let integers): return try Self.imported(integers, type.dtype)
      case .float32(let floats): return try Self.imported(floats.map(Double.init), type.dtype)
      case .float64(let doubles): return try Self.imported(doubles, type.dtype)
      }
    }
  }

  private static func imported(
    _ tensor: DenseTensor<Dimension>, _ dtype: DataType
  ) throws -> Converter.Imported {
    let constants = tensor.elements.compactMap(\.constant)
    guard constants.count == tensor.elements.count else { return .symbolic(tensor, dtype) }
    return .constant(
      try TensorData(packing: constants, as: dtype, shape: tensor.shape), isFolded: true, id: nil)
  }

  private static func imported(
    _ tensor: DenseTensor<Double>, _ dtype: DataType
  ) throws -> Converter.Imported {
    .constant(
      try TensorData(packing: tensor.elements, as: dtype, shape: tensor.shape), isFolded: true,
      id: nil)
  }
}
