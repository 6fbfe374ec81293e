// Fine-tuning of a bundle for several input shapes: one program trains, and all get its weights.

import Graft
import GraftDiagnostics
import GraftIR

extension RunPlan {
  /// The network of every program with its new head; that of the program that trains is `training`'s.
  /// - Parameter plan: makes the plan of a program's graph.
  /// - Throws: ``GraftError`` of kind `unsupported` if a weight that trains is another one in another program, such
  ///   as that of a linear layer that reads all pixels, or one that was computed from the input's size.
  static func networks(
    of network: ImageNetwork, training: FineTuningPlan,
    plan: (_ program: Int) throws -> FineTuningPlan
  ) throws -> [Graph] {
    let programs = network.bundle.manifest.programs
    return try programs.indices.map { index in
      guard index != network.program else { return training.network }
      let planned = try plan(index)
      let other = planned.parts.network
      for name in training.parts.tailParameters {
        guard !isSame(name, in: other, training.parts.network) else { continue }
        throw GraftError(
          .unsupported,
          "the weight \(name.quotedForDisplay) of the program for \(try programs[index].shapeText) is not that of "
            + "the program for \(try programs[network.program].shapeText), so they cannot be trained together",
          advice:
            "Recompile the bundle for one of them: graft compile BUNDLE -o NEW.graft --input-shape …"
        )
      }
      return planned.network
    }
  }

  /// Whether two networks have the same weight of that name.
  private static func isSame(_ name: String, in one: Graph, _ other: Graph) -> Bool {
    guard let a = one.parameter(named: name), let b = other.parameter(named: name),
      one.type(of: a) == other.type(of: b)
    else { return false }
    guard let data = one[a].parameter?.data, let same = other[b].parameter?.data else {
      return true
    }
    return data.hasSameElements(as: same)
  }

  /// The network of every program with the trained weights of `tuned`.
  func networks(withWeightsOf tuned: Graph) -> [Graph] {
    programs(networks, withWeightsOf: tuned)
  }

  /// The same of the networks before they are split.
  func sources(withWeightsOf tuned: Graph) -> [Graph] { programs(sources, withWeightsOf: tuned) }

  private func programs(_ graphs: [Graph], withWeightsOf tuned: Graph) -> [Graph] {
    graphs.enumerated().map { index, graph in
      guard index != network.program else { return tuned }
      var graph = graph
      for name in training.parts.tailParameters {
        guard let id = graph.parameter(named: name), let source = tuned.parameter(named: name)
        else { continue }
        graph[id].definition = tuned[source].definition
      }
      return graph
    }
  }
}
