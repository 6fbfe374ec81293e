// Normalization of channels where the statistics are no constants, and in training mode: statistics of the
// batch, and the gradients that go through them.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Lowering {
  /// (x - mean) · factor + bias, and the residual. In this order nothing cancels where the mean is much
  /// larger than the deviation.
  mutating func lower(_ operation: BatchNormalization, _ node: Node) throws {
    let x = try operand(0, of: node)
    let factor = try normalizationFactor(
      scale: try operand(1, of: node), variance: try operand(4, of: node),
      epsilon: operation.epsilon)
    let residual = node.operand(5)
    try map(
      MapFunction(
        name: residual == nil ? "batch_normalization" : "batch_normalization_residual",
        expression: "(a_value - b_value) * c_value + d_value"
          + (residual == nil ? "" : " + e_value"), activation: operation.activation),
      [
        .value(x), .channels(try operand(3, of: node)), .vector(factor),
        .channels(try operand(2, of: node)),
      ] + (residual.map { [.value($0)] } ?? []), to: try result(of: node))
  }

  /// The address of scale / sqrt(variance + epsilon) in the workspace, computed in double.
  mutating func normalizationFactor(
    scale: ValueID, variance: ValueID, epsilon: Double
  ) throws -> String {
    try requireFloat([scale, variance])
    guard let channels = type(scale).shape.elementCount?.constant, channels > 0 else {
      throw GraftError(.unsupported, "a normalization of \(type(scale)) channels")
    }
    let kernel = try library.add(
      "normalization_factor_f32_\(channels)", algorithm: "in double, threads split vectors"
    ) { name in
      try Templates.normalizationFactor.render([
        "banner": "scale / sqrt(variance + \(epsilon)) of \(channels) channels.", "name": name,
        "channels": "\(channels)", "epsilon": "\(epsilon)",
      ])
    }
    let blocks = (channels + target.lanes - 1) / target.lanes
    let factor = workspace(floats: blocks * target.lanes)
    emit(
      kernel, [try address(scale), try address(variance), factor],
      units: WorkUnits(fixed: blocks))
    return factor
  }

  /// dx = factor · (dy − (dbias + (x − mean) · dscale / deviation) / count), as two images and vectors.
  mutating func lower(_ operation: BatchNormalizationInputGradient, _ node: Node) throws {
    let (gradient, x) = (try operand(0, of: node), try operand(1, of: node))
    let vectors = try (2..<7).map { try operand($0, of: node) }
    let output = try result(of: node)
    try requireFloat(vectors)
    let shape = type(x).shape
    guard let channels = shape[1].constant, channels > 0,
      let pixels = TensorShape(Array(shape.dimensions[2...])).elementCount?.constant
    else { throw GraftError(.unsupported, "a normalization of \(type(x))") }
    let kernel = try library.add(
      "normalization_slopes_f32_\(channels)", algorithm: "in double, threads split vectors"
    ) { name in
      try Templates.normalizationSlopes.render([
        "banner": "What a normalization's gradient is of each of \(channels) channels.",
        "name": name, "channels": "\(channels)", "epsilon": "\(operation.epsilon)",
        "pixels": "\(pixels)",
      ])
    }
    let blocks = (channels + target.lanes - 1) / target.lanes
    let slopes = (0..<3).map { _ in workspace(floats: blocks * target.lanes) }
    let addresses = try [0, 2, 3, 4].map { try address(vectors[$0]) }
    emit(
      kernel, addresses + slopes + [shape[0].expression], units: WorkUnits(fixed: blocks))
    try map(
      MapFunction(
        name: "batch_normalization_gradient",
        expression: "a_value * d_value + (b_value - c_value) * e_value + f_value"),
      [
        .value(gradient), .value(x), .channels(vectors[1]), .vector(slopes[0]),
        .vector(slopes[1]), .vector(slopes[2]),
      ], to: output)
  }
}

extension Templates {
  static let normalizationFactor = Template(
    "normalization_factor.c", PackageResources.normalization_factor_c_in)
  static let normalizationSlopes = Template(
    "normalization_slopes.c", PackageResources.normalization_slopes_c_in)
}
