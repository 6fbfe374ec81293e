// Kernels that move elements: layout conversion, concatenation, slices, transposes, padding, views.

import GraftIR
import GraftOps

extension KernelFamily {
  static let movement = KernelFamily(
    name: "movement",
    rules: [
      .emitting(ConvertLayout.self, movesElements: true, cost: LayoutConversion.cost) {
        operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(ChannelShuffle.self, movesElements: true) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(Concatenate.self, movesElements: true) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(Split.self, movesElements: true) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(Slice.self, movesElements: true) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(Gather.self, movesElements: true) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(GatherGradient.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(Transpose.self, movesElements: true) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(Expand.self, movesElements: true) { _, node, program in
        try program.lowerExpand(node)
      },
      .emitting(Pad.self, movesElements: true) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(ConstantOfShape.self, movesElements: true) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(InsertZeros.self, movesElements: true) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(TransposeWeights.self, movesElements: true) { operation, node, program in
        try program.lower(operation, node)
      },
      .viewing,
    ])
}

extension KernelRule {
  /// Operators whose result shares the memory of their operand.
  fileprivate static let viewing = serving((any Operator).self) { operation, _, _ in
    operation.isView ? [ViewSchedule()] : []
  }
}

/// A view: it computes nothing, but may have to copy its operand.
private struct ViewSchedule: KernelSchedule {
  var summary: String { "" }
  var cost: Double { 0 }
  var hasWork: Bool { false }
  var arithmetic: DataType? { nil }

  func emit(_ node: Node, into program: inout Lowering) throws { try program.lowerView(node) }
}

/// The cost of a layout conversion in addition to reading and writing the value.
enum LayoutConversion {
  /// Half of its loads or stores are strided, so that they take twice as long.
  static func time(_ x: TensorType, _ y: TensorType, lanes: Int) -> Double {
    KernelCostModel.memoryTime([x, y], lanes: lanes) + 1
  }

  /// Whether both hold the same bytes: one pixel, in whole blocks of channels.
  static func isView(_ x: TensorType, _ y: TensorType) -> Bool {
    let block = max(x.layout.channelBlock, y.layout.channelBlock)
    return x.rank == 4 && x.shape[2] == 1 && x.shape[3] == 1
      && (x.shape[1].constant ?? 1).isMultiple(of: block)
  }

  @Sendable static func cost(
    _ operation: ConvertLayout, _ node: Node, _ context: SelectionContext
  ) -> Double {
    guard let x = node.operand(0), let y = node.results.first else { return 0 }
    return time(context.type(x), context.type(y), lanes: context.target.lanes)
  }
}
