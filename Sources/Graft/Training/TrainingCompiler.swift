// Compiles the training graph to libtrain.so with the same passes, layout assignment, memory planner, code
// generator and clang as an inference network.

import GraftAutodiff
import GraftCodegen
import GraftData
import GraftDiagnostics
import GraftIR
import GraftOps
import GraftPasses
import GraftPlanning

/// A graph that is ready for code generation.
package struct LoweredGraph {
  package var graph: Graph
  package var plan: MemoryPlan
  package var passes: PassReport
  /// The recomputed nodes.
  package var recomputation: RematerializationReport?
}

/// The limit on the arena of a training step.
package struct ArenaLimit {
  /// The batch size of a step.
  package var batch: Int
  package var bytes: Int

  package init(batch: Int, bytes: Int) {
    self.batch = batch
    self.bytes = bytes
  }
}

/// A compiled training step.
package struct CompiledStep {
  /// The state tensors of the library, by index.
  package var states: [TrainedState]
  package var plan: MemoryPlan
  package var recomputation: RematerializationReport
}

/// Compiles training steps.
package struct TrainingCompiler {
  let target: CompilationTarget

  package init(target: CompilationTarget) { self.target = target }

  /// Runs passes, layout assignment and memory planning on a training graph.
  /// - Parameters:
  ///   - keepsOrder: whether to keep the order of nodes, as for a step (forward, backward, update).
  ///   - limit: the arena limit of a step, met if possible; nil recomputes only what is cheap.
  package func lower(
    _ graph: Graph, keepsOrder: Bool, within limit: ArenaLimit? = nil
  ) throws -> LoweredGraph {
    var graph = graph
    let manager = PassManager(
      Pipeline.inference + Pipeline.layout, mode: .training,
      costs: KernelCostModel(target: target))
    var report = try manager.run(&graph)
    guard keepsOrder else {
      report.notes.append(try graph.scheduleForMemory().note)
      return LoweredGraph(graph: graph, plan: try MemoryPlan(planning: graph), passes: report)
    }
    try graph.updateEarly()
    let recomputation: RematerializationReport
    if let limit,
      let answer = graph.outputs.first(where: {
        $0.name == TrainingInterface.Output.logits.rawValue
      })
    {
      recomputation = try graph.recompute(
        forwardUpTo: answer.value, batch: limit.batch, within: limit.bytes)
    } else {
      recomputation = try graph.rematerialize()
    }
    // What is computed again reads parameters too.
    try graph.updateEarly()
    report.notes.append(recomputation.note)
    return LoweredGraph(
      graph: graph, plan: try MemoryPlan(planning: graph), passes: report,
      recomputation: recomputation)
  }

  /// Writes libtrain.so, train.bin and the C into `folder`.
  package func compile(
    _ training: TrainingGraph, groupNames: [String], into folder: String,
    within limit: ArenaLimit? = nil
  ) throws -> CompiledStep {
    let step = try lower(training.step, keepsOrder: true, within: limit)
    let evaluation = try lower(training.evaluation, keepsOrder: false)
    let generated = try TrainingGenerator(target: target).generate(
      step: step.graph, stepPlan: step.plan, evaluation: evaluation.graph,
      evaluationPlan: evaluation.plan, groupNames: groupNames)
    try generated.packed.write(
      to: ModelBundle.join(folder, BundleLayout.trainingWeights), from: [step.graph])
    try Toolchain.find().compile(generated, into: folder)
    return CompiledStep(
      states: generated.states, plan: step.plan,
      recomputation: step.recomputation ?? RematerializationReport())
  }
}

extension RematerializationReport {
  /// The line of the pass log.
  var note: PassNote {
    PassNote(
      pass: "rematerialize", action: again.isEmpty ? .left : .did,
      message: again.isEmpty
        ? "no value kept for the backward pass is cheap to recompute"
        : "\(again.count) nodes are recomputed in the backward pass, \(2 * multiplyAdds) FLOPs per image: "
          + "\(bytesAfter) live bytes per image instead of \(bytesBefore)")
  }
}
