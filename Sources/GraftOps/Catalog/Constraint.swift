// Helpers for type inference: labeled constraints and common checks.

import GraftDiagnostics
import GraftIR

/// Throws unless `holds`, citing the constraint's label and what was found.
func require(
  _ label: String, _ holds: Bool, _ message: @autoclosure () -> String
) throws {
  guard holds else { throw GraftError(.invalidGraph, "\(message()) [\(label)]") }
}

/// The operand at `index`; operand counts are checked by the catalog before inference.
func operand(_ index: Int, of operands: [TensorType?]) throws -> TensorType {
  guard index < operands.count, let type = operands[index] else {
    throw GraftError(.invalidGraph, "operand \(index) is missing")
  }
  return type
}

/// The operand at `index` if it is there.
func optionalOperand(_ index: Int, of operands: [TensorType?]) -> TensorType? {
  index < operands.count ? operands[index] : nil
}

/// The same for evaluated operands.
func tensor<Element>(
  _ index: Int, of operands: [DenseTensor<Element>?]
) throws -> DenseTensor<Element> {
  guard index < operands.count, let value = operands[index] else {
    throw GraftError(.invalidGraph, "operand \(index) is missing")
  }
  return value
}

func optionalTensor<Element>(
  _ index: Int, of operands: [DenseTensor<Element>?]
) -> DenseTensor<Element>? {
  index < operands.count ? operands[index] : nil
}

/// The shape of an elementwise result: ONNX's multidirectional broadcasting (as NumPy's).
func broadcast(_ shapes: [TensorShape], label: String) throws -> TensorShape {
  let rank = shapes.map(\.rank).max() ?? 0
  var result = Array(repeating: Dimension(1), count: rank)
  for shape in shapes {
    for (offset, dimension) in shape.dimensions.enumerated() {
      let axis = rank - shape.rank + offset
      if dimension == 1 || result[axis] == dimension { continue }
      try require(
        label, result[axis] == 1,
        "shapes \(shapes.map(\.description).joined(separator: " and ")) do not broadcast: "
          + "axis \(axis) has \(result[axis]) and \(dimension)")
      result[axis] = dimension
    }
  }
  return TensorShape(result)
}

/// The product of extents, at most `Int.max`: costs are estimates and never trap.
func saturatingProduct(_ factors: [Int]) -> Int {
  var product = 1
  for factor in factors {
    let (next, overflow) = product.multipliedReportingOverflow(by: factor)
    if overflow { return Int.max }
    product = next
  }
  return product
}

/// The number of elements of a type at batch size 1, for costs.
func elementCount(_ type: TensorType?) -> Int {
  guard let extents = type.flatMap({ try? $0.shape.extents(batch: 1) }) else { return 0 }
  return saturatingProduct(extents)
}

/// Throws unless `x` has a floating-point type. The error is `unsupported`, because ONNX allows integers in
/// many of these operators.
func requireReal(_ label: String, _ x: TensorType, _ name: String = "x") throws {
  guard x.dtype.isFloatingPoint else {
    throw GraftError(
      .unsupported, "\(name) must be a floating-point tensor, found \(x) [\(label)]")
  }
}

/// Throws unless `type` has the element type and shape of `other`.
func requireSameType(
  _ label: String, _ type: TensorType, _ name: String, as other: TensorType
) throws {
  try require(
    label, type.dtype == other.dtype && type.shape == other.shape,
    "\(name) must be \(other.dtype.rawValue)\(other.shape), found \(type)")
}
