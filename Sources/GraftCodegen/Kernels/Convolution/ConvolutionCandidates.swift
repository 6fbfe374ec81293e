// Which variants of a network's convolutions are worth measuring.

import GraftDiagnostics
import GraftIR
import GraftOps

extension CodeGenerator {
  /// The candidate variants of each convolution of a scheduled graph, whose results differ only by rounding:
  /// the cost model's choice first, then in order of estimated cost, without duplicate schedules.
  /// - Throws: ``GraftError`` that names a node that no kernel can compute.
  public func candidates(
    graph: Graph
  ) throws -> [ConvolutionSite: [ConvolutionVariant]] {
    let context = SelectionContext(
      graph: graph, target: target, preferences: convolutions, roundsFactors: roundsFactors)
    var found: [ConvolutionSite: [ConvolutionVariant]] = [:]
    for node in graph.nodes {
      try at(graph.location(of: node)) {
        guard let site = try KernelSelection.choose(for: node, context).schedule.site,
          found[site] == nil
        else { return }
        found[site] = try Self.candidates(for: node, at: site, context)
      }
    }
    return found
  }

  private static func candidates(
    for node: Node, at site: ConvolutionSite, _ context: SelectionContext
  ) throws -> [ConvolutionVariant] {
    let only = context.preferences.algorithm
    func kernel(_ variant: ConvolutionVariant?) throws -> (any MeasuredKernel)? {
      var context = context
      context.preferences = ConvolutionChoices(
        only, variants: variant.map { [site: $0] } ?? [:])
      return try KernelSelection.choose(for: node, context).schedule as? any MeasuredKernel
    }
    let best = try kernel(nil)?.algorithm ?? .direct
    let others = only == nil ? ConvolutionAlgorithm.allCases.filter { $0 != best } : []
    let splits = [ConvolutionVariant.Split.outputs, .tiles]
    let blockings: [ConvolutionVariant.Blocking?] = [nil, .half, .double]
    let tiles = RegisterTile.choices(target: context.target)

    var variants = ([best] + others).map { ConvolutionVariant($0) }
    variants += splits.map { ConvolutionVariant(best, split: $0) }
    variants += tiles.map { ConvolutionVariant(best, tileBlocks: $0) }
    for algorithm in [best] + others {
      for split in splits {
        for tile in tiles {
          for blocking in blockings {
            variants.append(
              ConvolutionVariant(
                algorithm, split: split, tileBlocks: tile, blocking: blocking))
          }
        }
      }
    }
    var seen = Set<AnyHashable>()
    return try variants.filter { variant in
      try kernel(variant).map { seen.insert($0.identity).inserted } ?? false
    }
  }
}
