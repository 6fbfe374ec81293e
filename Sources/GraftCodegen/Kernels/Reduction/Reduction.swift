// Reductions over axes, and softmax.

import GraftIR
import GraftOps

extension KernelFamily {
  static let reduction = KernelFamily(
    name: "reduction",
    rules: [
      .emitting(Softmax.self) { operation, node, program in
        try program.lower(softmax: operation, node, isLogarithm: false)
      },
      .emitting(LogSoftmax.self) { operation, node, program in
        try program.lower(softmax: operation, node, isLogarithm: true)
      },
      .emitting(ReduceMean.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(Reduction.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(ArgReduction.self, movesElements: true) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(ReduceSum.self) { operation, node, program in
        try program.lower(operation, node)
      },
    ])
}
