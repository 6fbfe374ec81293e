// Pools over windows and over whole images, and their gradients.

import GraftIR
import GraftOps

extension KernelFamily {
  static let pooling = KernelFamily(
    name: "pooling",
    rules: [
      .emitting(MaxPool.self, cost: poolCost) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(AveragePool.self, cost: poolCost) { operation, node, program in
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

  /// Windows of a plain row do not start at multiples of a vector.
  @Sendable private static func poolCost(
    _ operation: some Pooling, _ node: Node, _ context: SelectionContext
  ) -> Double {
    let isBlocked = node.results.first.map { context.type($0).layout.isBlocked } ?? false
    return isBlocked
      ? context.arithmeticTime(node, operation) : context.scalarTime(node, operation)
  }
}
