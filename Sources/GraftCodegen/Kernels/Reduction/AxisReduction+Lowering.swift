// Reductions over any axes of plain values: one result at a time, threads split the results.

import GraftDiagnostics
import GraftIR
import GraftOps

/// How the elements that come to one result are combined: C over `next`, `i` and what `start` declares.
struct ElementReduction {
  /// For the kernel's name.
  var name: String
  var start: String
  var accumulate: String
  /// A number of the result's type.
  var result: String

  /// The sum in float64, of elements of floating-point type `dtype`.
  static func sum(_ dtype: DataType) -> ElementReduction {
    ElementReduction(
      name: "sum", start: "double sum = 0;", accumulate: "sum += next;",
      result: "(\(dtype.numberType))sum")
  }

  /// The mean, likewise.
  static func mean(_ dtype: DataType) -> ElementReduction {
    ElementReduction(
      name: "mean", start: "double sum = 0;", accumulate: "sum += next;",
      result: "(\(dtype.numberType))(sum * (1.0 / COUNT))")
  }
}

extension Lowering {
  mutating func lower(_ operation: Reduction, _ node: Node) throws {
    let (input, output) = (try operand(0, of: node), try result(of: node))
    let dtype = type(input).dtype
    let number = dtype.numberType
    let reduction: ElementReduction
    switch operation.function {
    case .max, .min:
      let sign = operation.function == .max ? ">" : "<"
      let replaces = "next \(sign) value\(dtype.isFloatingPoint ? " || next != next" : "")"
      reduction = ElementReduction(
        name: operation.function.rawValue, start: "\(number) value = 0;",
        accumulate: "value = i == 0 || \(replaces) ? next : value;", result: "value")
    case .prod where dtype.isFloatingPoint:
      reduction = ElementReduction(
        name: "prod", start: "double value = 1;", accumulate: "value *= next;",
        result: "(\(number))value")
    case .prod, .sum:
      // Unsigned, so that they wrap around.
      let isSum = operation.function == .sum
      reduction = ElementReduction(
        name: operation.function.rawValue, start: "unsigned long long value = \(isSum ? 0 : 1);",
        accumulate: "value \(isSum ? "+" : "*")= (unsigned long long)next;",
        result: "(\(number))value")
    case .l1, .l2, .logSum, .logSumExp, .sumSquare:
      throw GraftError(
        .unsupported, "no kernel computes the reduction \(operation.function.rawValue)")
    }
    try reduce(input, to: output, axes: operation.axes, reduction)
  }

  mutating func lower(_ operation: ArgReduction, _ node: Node) throws {
    let input = try operand(0, of: node)
    let dtype = type(input).dtype
    let sign = operation.isMinimum ? "<" : ">"
    // The first NaN is the extreme, as in NumPy.
    let isNumber = dtype.isFloatingPoint ? "best == best && " : ""
    let isNaN = dtype.isFloatingPoint ? " || next != next" : ""
    let replaces =
      operation.selectsLast
      ? "\(isNumber)(next \(sign)= best\(isNaN))" : "\(isNumber)(next \(sign) best\(isNaN))"
    try reduce(
      input, to: try result(of: node), axes: [operation.axis],
      ElementReduction(
        name: "arg\(operation.isMinimum ? "min" : "max")\(operation.selectsLast ? "_last" : "")",
        start: "\(dtype.numberType) best = 0;\nlong long place = 0;",
        accumulate: """
          if (i == 0 || (\(replaces))) {
            best = next;
            place = (long long)i;
          }
          """, result: "place"))
  }

  /// Reduces a plain value over `axes`, one of which may be the batch.
  mutating func reduce(
    _ input: ValueID, to output: ValueID, axes: [Int], _ reduction: ElementReduction
  ) throws {
    guard type(input).layout.isPlain, type(output).layout.isPlain else {
      throw GraftError(
        .inconsistency, "a reduction over axes reads plain values, found \(type(input))")
    }
    let (x, y) = (type(input), type(output).dtype)
    let strides = try x.shape.plainStrides()
    let reduced = Set(axes)
    let kept = x.shape.dimensions.indices.filter { !reduced.contains($0) }
    let inner = x.shape.dimensions.indices.filter(reduced.contains)
    // A dummy inner axis, so that every other axis is an outer one.
    let outerLoop = try StridedLoop(
      extents: kept.map { x.shape[$0] } + [2], strides: [kept.map { strides[$0] } + [0]])
    let innerLoop = try StridedLoop(
      extents: inner.map { x.shape[$0] } + [2], strides: [inner.map { strides[$0] } + [0]])
    guard let count = TensorShape(inner.map { x.shape[$0] }).elementCount,
      let rows = TensorShape(kept.map { x.shape[$0] }).elementCount
    else {
      throw GraftError(.unsupported, "a reduction over axes \(axes) of \(x)")
    }
    let (outerOffset, innerOffset) = (outerLoop.offset(0), innerLoop.offset(0, row: "i"))
    let constants =
      count.isBatch ? "const size_t COUNT = \(count.count);" : "enum { COUNT = \(count) };"
    let batch = BatchParameter(readBy: [outerOffset, innerOffset, constants])
    let (from, to) = (x.dtype.storage.cType, y.storage.cType)
    let kernel = try library.add(
      "reduce_\(reduction.name)_\(x.dtype.rawValue)_\(count.isBatch ? "n" : "\(count)")",
      algorithm: "one result at a time, threads split results"
    ) { name in
      try Templates.reduceAxes.render([
        "banner": "\(reduction.name) over axes \(axes) of \(x).", "name": name,
        "constants": constants, "x_element": from, "y_element": to, "batch": batch.declaration,
        "x_offset": outerOffset, "number": x.dtype.numberType,
        "next": x.dtype.number("from[\(innerOffset)]"), "start": reduction.start,
        "accumulate": reduction.accumulate, "result": y.bits(of: reduction.result),
      ])
    }
    let source = "(const \(from) *)(const void *)\(try address(input))"
    let target = "(\(to) *)(void *)\(try address(output))"
    emit(kernel, [source, target] + batch.arguments, units: WorkUnits(1, times: rows))
  }
}

extension Templates {
  static let reduceAxes = Template("reduce_axes.c", PackageResources.reduce_axes_c_in)
}
