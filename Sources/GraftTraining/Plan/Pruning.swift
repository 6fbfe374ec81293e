// The plan of a run that prunes: how much each round removes, whether so much can be removed, and the record of
// what was.

import Graft
import GraftAutodiff
import GraftDiagnostics
import GraftIR
import GraftOps

/// The pruning of a run.
///
/// Channels go in several rounds, one before each of the first epochs, because the importance of channels changes as
/// others go, and the network recovers in between. At least two thirds of the epochs train the network as it will be.
struct Pruning {
  let share: Double
  let roundCount: Int
  /// What each round removed so far.
  var rounds: [[ChannelCut]] = []
  private let original: ChannelGroups

  private static let mostRounds = 4

  /// - Throws: ``GraftError`` of kind `unsupported` that names the layers that keep their channels, if the others have
  ///   less than the share.
  init(_ share: Double, of network: Graph, _ options: FineTuner.Options) throws {
    self.share = share
    roundCount = min(Self.mostRounds, max(1, options.epochs / 3))
    original = try ChannelGroups(network)
    let total = Double(original.multiplyAdds)
    let least = ChannelChoice.leastMultiplyAdds(original, vector: options.target.lanes)
    let largest = total == 0 ? 0 : 1 - least / total
    guard largest < share else { return }
    let kept = original.kept.prefix(4).map {
      "\($0.layer.quotedForDisplay): \($0.reason)"
    }
    throw GraftError(
      .unsupported,
      "at most \(Self.percent(largest)) of the multiply-adds can be removed with channels, "
        + "in multiples of \(ChannelChoice.multiple) of which each layer keeps at least one"
        + (kept.isEmpty
          ? "" : "; other layers keep their channels, " + kept.joined(separator: ", ")),
      advice: largest > 0 ? "Choose a smaller --prune." : nil)
  }

  /// The multiply-adds of an item that remain after a round, from 1.
  func limit(afterRound round: Int) -> Double {
    Double(original.multiplyAdds) * (1 - share * Double(round) / Double(roundCount))
  }

  func warnings(_ options: FineTuner.Options) -> [Warning] {
    let hasStatistics = original.graph.nodes.contains {
      Catalog.type(of: $0.opcode)?.position(of: .mean) != nil
    }
    guard options.normalization == .frozen, hasStatistics else { return [] }
    return [
      Warning(
        "with --bn frozen the pruned network normalizes with the statistics of the unpruned one; --bn train usually "
          + "gives better accuracy")
    ]
  }

  /// What the network, with the layers of the unpruned one, has lost.
  func record(of network: Graph) throws -> Manifest.Pruning {
    let now = try ChannelGroups(network)
    let outputs = Dictionary(
      now.widths.map { ($0.weight, $0.outputs) }, uniquingKeysWith: { first, _ in first })
    return Manifest.Pruning(
      share: share, multiplyAddsBefore: original.multiplyAdds, multiplyAdds: now.multiplyAdds,
      parametersBefore: Self.elements(of: original.graph), parameters: Self.elements(of: network),
      layers: original.widths.compactMap { layer in
        guard let left = outputs[layer.weight], left < layer.outputs else { return nil }
        return Manifest.Pruning.Layer(
          name: layer.name, outputsBefore: layer.outputs, outputs: left)
      })
  }

  private static func elements(of graph: Graph) -> Int {
    graph.parameters.reduce(0) { $0 + (graph.type(of: $1).shape.elementCount?.constant ?? 0) }
  }

  static func percent(_ share: Double) -> String {
    ReportFigures.decimal(100 * share, 1) + " %"
  }
}

extension RunPlan {
  /// The plan of the network of a checkpoint, for a run that continues from it.
  /// - Throws: ``GraftError`` if the state cannot be read, or is of another network.
  func resumed(from checkpoint: Checkpoint) throws -> RunPlan {
    guard options.resumes, pruning != nil, sampleSize == nil else { return self }
    return try (checkpoint.progress().pruned ?? []).reduce(self) {
      try $0.removing($1, trainedBy: nil)
    }
  }
}
