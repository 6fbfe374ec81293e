// Normalization of rows and its gradient: a row at a time, whose sums are vectors that threads do not share.

import GraftDiagnostics
import GraftIR
import GraftOps

extension KernelFamily {
  static let layerNormalization = KernelFamily(
    name: "layer_normalization",
    rules: [
      .serving(LayerNormalization.self) { operation, node, context in
        [
          try LayerNormalizationSchedule(
            node, x: 0, axis: operation.axis, context, .forward(operation))
        ]
      },
      .serving(LayerNormalizationGradient.self) { operation, node, context in
        [try LayerNormalizationSchedule(node, x: 1, axis: operation.axis, context, .gradient)]
      },
      .emitting(LayerNormalizationParameterGradient.self) { operation, node, program in
        try program.lower(operation, node)
      },
    ])
}

private struct LayerNormalizationSchedule: KernelSchedule {
  enum Direction {
    case forward(LayerNormalization)
    case gradient
  }

  /// Elements of a row.
  let count: Int
  let rows: Dimension
  let lanes: Int
  let direction: Direction

  /// - Parameter x: the operand that is normalized.
  init(
    _ node: Node, x: Int, axis: Int, _ context: SelectionContext, _ direction: Direction
  ) throws {
    try context.graph.requireFloat(node.presentOperands + node.results)
    let type = context.type(try node.requiredOperand(x))
    count = try NormalizedRows(type, axis: axis).count
    guard let rows = TensorShape(Array(type.shape.dimensions[..<axis])).elementCount else {
      throw GraftError(.unsupported, "the number of rows of \(type) is not known")
    }
    self.rows = rows
    lanes = context.target.lanes
    self.direction = direction
  }

  var summary: String { "rows of \(count) elements, threads split rows" }

  /// Passes over a row's vectors: for the mean, the deviation and the result, or the two sums and the result.
  var cost: Double {
    let passes = if case .forward = direction { 4.0 } else { 6.0 }
    return passes * Double((count + lanes - 1) / lanes) * Double(max(1, rows.coefficient))
  }

  func emit(_ node: Node, into program: inout Lowering) throws {
    var values = [
      "count": "\(count)",
      "banner": "Layer normalization of rows of \(count) elements, float32 with sums in vectors.",
    ]
    let (template, name): (Template, String)
    switch direction {
    case .forward(let operation):
      let hasBias = node.operand(2) != nil
      template = Templates.layerNormalization
      name = "layer_normalization_f32_\(count)\(hasBias ? "_bias" : "")"
      values["epsilon"] = "\(operation.epsilon)"
      values["bias_parameter"] = hasBias ? "const float *bias," : ""
      values["bias"] = hasBias ? " + load(bias + i)" : ""
      values["bias_rest"] = hasBias ? " + load_part(bias + WHOLE, REST)" : ""
    case .gradient:
      template = Templates.layerNormalizationGradient
      name = "layer_normalization_gradient_f32_\(count)"
    }
    let kernel = try program.library.add(name, algorithm: summary) { name in
      try template.render(values.merging(["name": name]) { $1 })
    }
    let arguments = try (node.presentOperands + node.results).map { try program.address($0) }
    program.emit(kernel, arguments, units: WorkUnits(1, times: rows))
  }
}

extension Templates {
  static let layerNormalization = Template(
    "layer_normalization.c", PackageResources.layer_normalization_c_in)
  static let layerNormalizationGradient = Template(
    "layer_normalization_gradient.c", PackageResources.layer_normalization_gradient_c_in)
}
