// Softmax and its logarithm, and means that are pools of whole images.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Lowering {
  mutating func lower(softmax operation: any SoftmaxFamily, _ node: Node, isLogarithm: Bool) throws
  {
    let (input, output) = (try operand(0, of: node), try result(of: node))
    try requireFloat([input, output])
    guard type(input).layout.isPlain, type(output).layout.isPlain else {
      throw GraftError(.inconsistency, "\(node.opcode) reads plain values, found \(type(input))")
    }
    let dimensions = type(input).shape.dimensions
    let axis = operation.axis
    let normalized = operation.flattens ? dimensions[axis...] : dimensions[axis...axis]
    let innerAxes = operation.flattens ? [] : dimensions[(axis + 1)...]
    guard let count = TensorShape(Array(normalized)).elementCount?.constant, count > 0,
      let inner = TensorShape(Array(innerAxes)).elementCount,
      let outer = TensorShape(Array(dimensions[..<axis])).elementCount,
      let units = inner.multiplied(by: outer)
    else {
      throw GraftError(.unsupported, "\(node.opcode) over axis \(axis) of \(type(input))")
    }
    let constants =
      inner.isBatch
      ? "enum { COUNT = \(count) };\nconst size_t INNER = \(inner.count);"
      : "enum { COUNT = \(count), INNER = \(inner) };"
    let batch = BatchParameter(readBy: [constants])
    let kernel = try library.add(
      "\(node.opcode)_f32_\(count)x\(inner.isBatch ? "n" : "\(inner)")",
      algorithm: "one row at a time, threads split rows"
    ) { name in
      let finish =
        isLogarithm
        ? "const float shift = __builtin_logf(sum);" : "const float scale = 1.0f / sum;"
      guard inner != 1 else {
        return try Templates.softmaxRows.render([
          "banner": "\(node.opcode) of rows of \(count) elements.", "name": name,
          "count": "\(count)", "stored": isLogarithm ? "value" : "power", "finish": finish,
          "result": isLogarithm ? "to[i] - shift" : "to[i] * scale",
        ])
      }
      return try Templates.softmax.render([
        "banner": "\(node.opcode) of rows of \(count) elements, \(inner) apart.", "name": name,
        "constants": constants, "batch": batch.declaration,
        "stored": isLogarithm ? "value[lane]" : "power[lane]", "finish": finish,
        "result": isLogarithm ? "to[i * INNER] - shift" : "to[i * INNER] * scale",
      ])
    }
    try emit(
      kernel, [address(input), address(output)] + batch.arguments,
      units: WorkUnits(1, times: units))
  }

  mutating func lower(_ operation: ReduceMean, _ node: Node) throws {
    if operation.axes == [2, 3], operation.keepsAxes, type(try result(of: node)).rank == 4 {
      return try lowerGlobalPool(node, isAverage: true)
    }
    let output = try result(of: node)
    try reduce(
      try operand(0, of: node), to: output, axes: operation.axes, .mean(type(output).dtype))
  }
}

extension Templates {
  static let softmaxRows = Template("softmax_rows.c", PackageResources.softmax_rows_c_in)
  static let softmax = Template("softmax.c", PackageResources.softmax_c_in)
}
