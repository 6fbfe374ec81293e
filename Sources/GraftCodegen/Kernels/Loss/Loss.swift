// Losses and their gradients.

import GraftIR
import GraftOps

extension KernelFamily {
  static let loss = KernelFamily(
    name: "loss",
    rules: [
      .emitting(CrossEntropy.self) { _, node, program in
        try program.lowerCrossEntropy(node, isGradient: false)
      },
      .emitting(CrossEntropyGradient.self) { _, node, program in
        try program.lowerCrossEntropy(node, isGradient: true)
      },
      .emitting(RegressionError.self) { operation, node, program in
        try program.lowerRegressionError(operation.measure, node, isGradient: false)
      },
      .emitting(RegressionErrorGradient.self) { operation, node, program in
        try program.lowerRegressionError(operation.measure, node, isGradient: true)
      },
    ])
}
