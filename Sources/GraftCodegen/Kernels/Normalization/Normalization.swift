// Normalizations over a batch and over channels, and their gradients.

import GraftIR
import GraftOps

extension KernelFamily {
  static let normalization = KernelFamily(
    name: "normalization",
    rules: [
      .emitting(BatchNormalization.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(LocalResponseNormalization.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(BatchStatistics.self) { _, node, program in
        try program.lowerBatchStatistics(node)
      },
      .emitting(BatchNormalizationParameterGradient.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(BatchNormalizationInputGradient.self) { operation, node, program in
        try program.lower(operation, node)
      },
    ])
}
