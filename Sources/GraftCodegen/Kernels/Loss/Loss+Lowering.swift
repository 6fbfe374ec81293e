// Losses and their gradients: a row of logits, or of regression results, at a time.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Lowering {
  mutating func lowerCrossEntropy(_ node: Node, isGradient: Bool) throws {
    let (logits, targets) = (try operand(0, of: node), try operand(1, of: node))
    let output = try result(of: node)
    try requireFloat([logits, targets, output])
    guard let classes = type(logits).shape[1].constant, classes > 0 else {
      throw GraftError(.unsupported, "a cross-entropy of \(type(logits))")
    }
    let loss = """
      const double shift = most + __builtin_log(sum);
      double result = 0;
      for (size_t i = 0; i < CLASSES; i++) {
        /* No target, no loss, even where the probability is zero. */
        if (target[i] != 0) result += target[i] * (shift - from[i]);
      }
      (void)total;
      y[n] = (float)result;
      """
    let gradient = """
      const double scale = total / sum;
      float *to = y + n * CLASSES;
      for (size_t i = 0; i < CLASSES; i++) to[i] = (float)(to[i] * scale - target[i]);
      """
    let kernel = try library.add(
      "\(node.opcode)_f32_\(classes)", algorithm: "one row at a time, threads split rows"
    ) { name in
      try Templates.crossEntropy.render([
        "banner": "\(node.opcode) of rows of \(classes) logits.", "name": name,
        "classes": "\(classes)",
        "keep_power": isGradient ? "y[n * CLASSES + i + lane] = power[lane];" : "",
        "finish": isGradient ? gradient : loss,
      ])
    }
    try emit(
      kernel, [address(logits), address(targets), address(output)],
      units: WorkUnits(1, times: type(logits).shape[0]))
  }

  mutating func lowerSquaredError(_ node: Node, isGradient: Bool) throws {
    let operands = try (0..<3).map { try operand($0, of: node) }
    let output = try result(of: node)
    try requireFloat(operands + [output])
    let shape = type(operands[0]).shape
    guard let count = TensorShape(Array(shape.dimensions.dropFirst())).elementCount?.constant
    else { throw GraftError(.unsupported, "a squared error of \(type(operands[0]))") }
    let kernel = try library.add(
      "\(node.opcode)_f32_\(count)", algorithm: "one row at a time, threads split rows"
    ) { name in
      let template = isGradient ? Templates.squaredErrorGradient : Templates.squaredError
      return try template.render([
        "banner": "\(node.opcode) of rows of \(count) elements.", "name": name,
        "count": "\(count)",
      ])
    }
    try emit(
      kernel, operands.map { try address($0) } + [address(output)],
      units: WorkUnits(1, times: shape[0]))
  }
}

extension Templates {
  static let crossEntropy = Template("cross_entropy.c", PackageResources.cross_entropy_c_in)
  static let squaredError = Template("squared_error.c", PackageResources.squared_error_c_in)
  static let squaredErrorGradient = Template(
    "squared_error_gradient.c", PackageResources.squared_error_gradient_c_in)
}
