// Pools over windows and over whole images, and their gradients.

import GraftIR
import GraftOps

extension KernelFamily {
  static let pooling = KernelFamily(
    name: "pooling",
    rules: [
      .emitting(MaxPool.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(AveragePool.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(GlobalAveragePool.self) { _, node, program in
        try program.lowerGlobalPool(node, isAverage: true)
      },
      .emitting(GlobalMaxPool.self) { _, node, program in
        try program.lowerGlobalPool(node, isAverage: false)
      },
      .emitting(MaxPoolGradient.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(AveragePoolGradient.self) { operation, node, program in
        try program.lower(operation, node)
      },
    ])
}
