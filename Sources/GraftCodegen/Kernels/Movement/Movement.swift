// What moves elements: conversions of layout, concatenation, slices, transposition, padding, views.

import GraftIR
import GraftOps

extension KernelFamily {
  static let movement = KernelFamily(
    name: "movement",
    rules: [
      .emitting(ConvertLayout.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(ChannelShuffle.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(Concatenate.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(Split.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(Slice.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(Gather.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(GatherGradient.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(Transpose.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(Expand.self) { _, node, program in
        try program.lowerExpand(node)
      },
      .emitting(Pad.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(ConstantOfShape.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(InsertZeros.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(TransposeWeights.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .viewing,
    ])
}

extension KernelRule {
  /// Operators whose result stands where their operand does.
  fileprivate static let viewing = serving((any Operator).self) { operation, _, _ in
    operation.isView ? [ViewSchedule()] : []
  }
}

/// Nothing is computed, though a value that is read where another stands may have to be copied there.
private struct ViewSchedule: KernelSchedule {
  var summary: String { "" }
  var cost: Double { 0 }
  var hasWork: Bool { false }

  func emit(_ node: Node, into program: inout Lowering) throws { try program.lowerView(node) }
}
