// The optimizer's update: sums of gradients, clipping, and the new contents of weights and statistics.

import GraftIR
import GraftOps

extension KernelFamily {
  static let update = KernelFamily(
    name: "update",
    rules: [
      .emitting(Accumulate.self) { _, node, program in
        try program.lowerAccumulate(node)
      },
      .emitting(SquareSum.self) { _, node, program in
        try program.lowerSquareSum(node)
      },
      .emitting(ClipFactor.self) { _, node, program in
        try program.lowerClipFactor(node)
      },
      .emitting(MovingAverage.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(SGDUpdate.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(AdamUpdate.self) { operation, node, program in
        try program.lower(operation, node)
      },
    ])
}
