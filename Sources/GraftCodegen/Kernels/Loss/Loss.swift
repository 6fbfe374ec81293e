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
      .emitting(SquaredError.self) { _, node, program in
        try program.lowerSquaredError(node, isGradient: false)
      },
      .emitting(SquaredErrorGradient.self) { _, node, program in
        try program.lowerSquaredError(node, isGradient: true)
      },
    ])
}
