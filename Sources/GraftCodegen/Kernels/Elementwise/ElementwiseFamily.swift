// Functions of the elements of one or more values, with broadcasting.

import GraftIR
import GraftOps

extension KernelFamily {
  static let elementwise = KernelFamily(
    name: "elementwise",
    rules: [
      .emitting((any BinaryElementwise).self) { operation, node, program in
        try program.lower(binary: operation, node)
      },
      .emitting((any UnaryElementwise).self) { operation, node, program in
        try program.lower(unary: operation, node)
      },
      .emitting((any VariadicElementwise).self) { operation, node, program in
        try program.lower(variadic: operation, node)
      },
      .emitting(TensorPower.self) { operation, node, program in
        try program.lower(power: operation, node)
      },
      .emitting(Remainder.self) { operation, node, program in
        try program.lower(scalar: operation, node)
      },
      .emitting((any BitwisePair).self) { operation, node, program in
        try program.lower(scalar: operation, node)
      },
      .emitting(Cast.self, movesElements: true) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting((any Comparison).self, movesElements: true) { operation, node, program in
        try program.lower(comparison: operation, node)
      },
      .emitting((any LogicalPair).self, movesElements: true) { operation, node, program in
        try program.lower(logical: operation, node)
      },
      .emitting(LogicalNot.self, movesElements: true) { _, node, program in
        try program.lowerNot(node)
      },
      .emitting(Where.self, movesElements: true) { _, node, program in
        try program.lowerWhere(node)
      },
      .emitting(ScaleShift.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(ActivationGradient.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(RandomDropout.self) { operation, node, program in
        try program.lower(operation, node)
      },
    ])
}
