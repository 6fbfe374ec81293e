// The kernel families. A new one is a folder of Kernels/ and a line here.

import GraftIR
import GraftOps

enum KernelRegistry {
  static let families: [KernelFamily] = [
    .directConvolution, .winogradConvolution, .halfTiles, .depthwiseConvolution,
    .plainConvolution,
    .transposedConvolution, .weightGradient, .matrixProduct, .halfProduct, .attention, .pooling,
    .elementwise, .movement,
    .indexing, .regionPool, .normalization,
    .quantizedConvolution, .quantizedProduct, .quantizedElementwise,
    .layerNormalization, .reduction, .loss, .update,
  ]

  /// All schedules that the families offer for `node`.
  static func candidates(
    for node: Node, _ context: SelectionContext
  ) throws -> [(family: String, schedule: any KernelSchedule)] {
    let operation = try Catalog.operation(of: node)
    return try families.flatMap { family in
      try family.rules.flatMap { try $0.schedules(operation, node, context) ?? [] }
        .map { (family.name, $0) }
    }
  }
}
