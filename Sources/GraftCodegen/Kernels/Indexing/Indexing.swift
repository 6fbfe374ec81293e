// Elements that are read, written or chosen one by one: by indices along an axis, or by their order.

import GraftDiagnostics
import GraftIR
import GraftOps

extension KernelFamily {
  static let indexing = KernelFamily(
    name: "indexing",
    rules: [
      .emitting(GatherElements.self, movesElements: true) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(ScatterElements.self, movesElements: true) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(TopK.self, movesElements: true) { operation, node, program in
        try program.lower(operation, node)
      },
    ])
}

extension Lowering {
  mutating func lower(_ operation: GatherElements, _ node: Node) throws {
    let (input, indices) = (try operand(0, of: node), try operand(1, of: node))
    let output = try result(of: node)
    let (x, choice) = (type(input), type(indices))
    let shape = choice.shape
    var strides = try x.shape.plainStrides()
    let axisStep = strides[operation.axis]
    strides[operation.axis] = 0
    let loop = try StridedLoop(
      extents: shape.dimensions, strides: [strides, try shape.plainStrides()])
    guard let extent = x.shape[operation.axis].constant else {
      throw GraftError(.unsupported, "elements along an axis that grows with the batch, of \(x)")
    }
    let (element, index) = (x.dtype.movedType, choice.dtype.storage.cType)
    let (offset, step, constants) = (loop.offset(0), loop.innerStride(0).step, loop.innerCount)
    let batch = BatchParameter(readBy: [offset, step, axisStep.step, constants])
    let kernel = try library.add(
      "gather_elements_\(element.name)_\(choice.dtype.rawValue)_\(extent)",
      algorithm: "an element for each index, threads split rows"
    ) { name in
      try Templates.gatherElements.render([
        "banner":
          "Elements of \(x) along axis \(operation.axis) by \(choice); the nearest where an "
          + "index is outside.",
        "name": name, "element": element.type, "index": index, "extent": "\(extent)",
        "constants": constants, "batch": batch.declaration, "x_offset": offset, "x_step": step,
        "axis_step": axisStep.step,
      ])
    }
    emit(
      kernel,
      [
        "(const \(element.type) *)(const void *)\(try address(input))",
        "(const \(index) *)(const void *)\(try address(indices))",
        "(\(element.type) *)(void *)\(try address(output))",
      ] + batch.arguments, units: loop.rows)
  }

  /// A unit of work is a line along the axis, which no other one writes.
  mutating func lower(_ operation: ScatterElements, _ node: Node) throws {
    let (input, indices) = (try operand(0, of: node), try operand(1, of: node))
    let (updates, output) = (try operand(2, of: node), try result(of: node))
    let (x, choice) = (type(input), type(indices))
    let axis = operation.axis
    let strides = try x.shape.plainStrides()
    let updateStrides = try choice.shape.plainStrides()
    guard let extent = x.shape[axis].constant, let count = choice.shape[axis].constant,
      let lines = TensorShape(
        x.shape.dimensions.enumerated().filter { $0.offset != axis }.map(\.element)
      ).elementCount
    else {
      throw GraftError(.unsupported, "elements along an axis that grows with the batch, of \(x)")
    }
    var (offset, updateOffset, inside) = ([String](), [String](), [String]())
    var suffix = Dimension(1)
    for other in x.shape.dimensions.indices.reversed() where other != axis {
      let place = "(ptrdiff)(line / \(suffix.factor) % \(x.shape[other].factor))"
      offset.append("\(place) * \(strides[other].step)")
      updateOffset.append("\(place) * \(updateStrides[other].step)")
      if choice.shape[other] != x.shape[other] {
        inside.append("\(place) < \(choice.shape[other].factor)")
      }
      suffix = try suffix.times(x.shape[other])
    }
    func sum(_ terms: [String]) -> String { terms.isEmpty ? "0" : terms.joined(separator: " + ") }
    let isInside = inside.isEmpty ? "1" : inside.joined(separator: " && ")
    let batch = BatchParameter(
      readBy: offset + updateOffset + inside + [strides[axis].step, updateStrides[axis].step])
    let (element, index) = (x.dtype.storage.cType, choice.dtype.storage.cType)
    let kernel = try library.add(
      "scatter_elements_\(operation.reduction.rawValue)_\(x.dtype.rawValue)_\(extent)",
      algorithm: "line by line along the axis, threads split lines"
    ) { name in
      try Templates.scatterElements.render([
        "banner": "\(x) with elements along axis \(axis) at \(choice), "
          + "\(operation.reduction.rawValue); at the nearest where an index is outside.",
        "name": name, "element": element, "index": index, "extent": "\(extent)",
        "count": "\(count)", "batch": batch.declaration, "x_offset": sum(offset),
        "update_offset": sum(updateOffset), "is_inside": isInside,
        "axis_step": strides[axis].step, "update_step": updateStrides[axis].step,
        "number": x.dtype.numberType, "a_number": x.dtype.number("*place"),
        "b_number": x.dtype.number("news[(ptrdiff)i * \(updateStrides[axis].step)]"),
        "combined": x.dtype.bits(of: try combined(operation.reduction, x.dtype)),
      ])
    }
    emit(
      kernel,
      [
        "(const \(element) *)(const void *)\(try address(input))",
        "(const \(index) *)(const void *)\(try address(indices))",
        "(const \(element) *)(const void *)\(try address(updates))",
        "(\(element) *)(void *)\(try address(output))",
      ] + batch.arguments, units: WorkUnits(1, times: lines))
  }

  private func combined(
    _ reduction: ScatterElements.Reduction, _ dtype: DataType
  ) throws -> String {
    let operation: any Operator =
      switch reduction {
      case .none: Identity()
      case .add: Add()
      case .mul: Multiply()
      case .max: Maximum()
      case .min: Minimum()
      }
    if reduction == .none { return "b_value" }
    guard let expression = ScalarFunctions.pair(operation, dtype) else {
      throw GraftError(.unsupported, "the reduction \(reduction.rawValue) of \(dtype.rawValue)")
    }
    return expression
  }

  mutating func lower(_ operation: TopK, _ node: Node) throws {
    let input = try operand(0, of: node)
    guard node.results.count == 2 else {
      throw GraftError(.inconsistency, "top_k has two results")
    }
    let x = type(input)
    let axis = operation.axis
    guard let extent = x.shape[axis].constant,
      let inner = TensorShape(Array(x.shape.dimensions[(axis + 1)...])).elementCount,
      let outer = TensorShape(Array(x.shape.dimensions[..<axis])).elementCount,
      let units = outer.multiplied(by: inner)
    else { throw GraftError(.unsupported, "an order along axis \(axis) of \(x)") }
    let constants =
      inner.isBatch ? "const size_t INNER = \(inner.count);" : "enum { INNER = \(inner) };"
    let batch = BatchParameter(readBy: [constants])
    let sign = operation.takesSmallest ? "<" : ">"
    // A NaN is larger than every number.
    let nan =
      !x.dtype.isFloatingPoint
      ? ""
      : operation.takesSmallest
        ? " || (b_value != b_value && a_value == a_value)"
        : " || (a_value != a_value && b_value == b_value)"
    let element = x.dtype.storage.cType
    let kernel = try library.add(
      "top_\(operation.count)\(operation.takesSmallest ? "_least" : "")_\(x.dtype.rawValue)_\(extent)",
      algorithm: "insertion into the elements found so far, threads split rows"
    ) { name in
      try Templates.topK.render([
        "banner":
          "The \(operation.count) \(operation.takesSmallest ? "smallest" : "largest") elements "
          + "along axis \(axis) of \(x), in order.",
        "name": name, "element": element, "extent": "\(extent)", "count": "\(operation.count)",
        "constants": constants, "batch": batch.declaration, "number": x.dtype.numberType,
        "a_number": x.dtype.number("next"), "b_number": x.dtype.number("best[(rank - 1) * INNER]"),
        "is_before": "a_value \(sign) b_value\(nan)",
      ])
    }
    emit(
      kernel,
      [
        "(const \(element) *)(const void *)\(try address(input))",
        "(\(element) *)(void *)\(try address(node.results[0]))",
        "(long long *)(void *)\(try address(node.results[1]))",
      ] + batch.arguments, units: WorkUnits(1, times: units))
  }
}

extension Templates {
  static let gatherElements = Template("gather_elements.c", PackageResources.gather_elements_c_in)
  static let scatterElements = Template(
    "scatter_elements.c", PackageResources.scatter_elements_c_in)
  static let topK = Template("top_k.c", PackageResources.top_k_c_in)
}
