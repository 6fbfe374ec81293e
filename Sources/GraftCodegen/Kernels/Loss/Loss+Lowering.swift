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

  mutating func lowerRegressionError(
    _ measure: ErrorMeasure, _ node: Node, isGradient: Bool
  ) throws {
    let operands = try (0..<3).map { try operand($0, of: node) }
    let output = try result(of: node)
    try requireFloat(operands + [output])
    let shape = type(operands[0]).shape
    guard let count = TensorShape(Array(shape.dimensions.dropFirst())).elementCount?.constant
    else { throw GraftError(.unsupported, "a regression error of \(type(operands[0]))") }
    let kernel = try library.add(
      "\(node.opcode)_\(measure)_f32_\(count)",
      algorithm: "one row at a time, threads split rows"
    ) { name in
      let template = isGradient ? Templates.regressionErrorGradient : Templates.regressionError
      return try template.render([
        "banner": "\(node.opcode) (\(measure)) of rows of \(count) elements.", "name": name,
        "count": "\(count)", "error": measure.text.error, "slope": measure.text.slope,
      ])
    }
    try emit(
      kernel, operands.map { try address($0) } + [address(output)],
      units: WorkUnits(1, times: shape[0]))
  }
}

extension ErrorMeasure {
  /// C of the error of `difference`, a double, and of its slope, a float.
  fileprivate var text: (error: String, slope: String) {
    let square = CText.float(Self.epsilon * Self.epsilon)
    return switch self {
    case .squared: ("difference * difference", "2 * difference")
    case .absolute:
      (
        "__builtin_fabs(difference)",
        "(difference > 0 ? 1 : difference < 0 ? -1 : difference)"
      )
    case .charbonnier:
      (
        "__builtin_sqrt(difference * difference + \(Self.epsilon * Self.epsilon))",
        "(difference / __builtin_sqrtf(difference * difference + \(square)))"
      )
    }
  }
}

extension Templates {
  static let crossEntropy = Template("cross_entropy.c", PackageResources.cross_entropy_c_in)
  static let regressionError = Template(
    "regression_error.c", PackageResources.regression_error_c_in)
  static let regressionErrorGradient = Template(
    "regression_error_gradient.c", PackageResources.regression_error_gradient_c_in)
}
