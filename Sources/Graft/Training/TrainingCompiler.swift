// From the tail of a network to libtrain.so: the training graph through the passes, layout, plan, code and
// clang, as the inference network goes.

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
  /// What runs a second time.
  package var recomputation: RematerializationReport?
}

/// What the arena of a training step may take.
package struct ArenaLimit {
  /// Images of a step.
  package var batch: Int
  package var bytes: Int

  package init(batch: Int, bytes: Int) {
    self.batch = batch
    self.bytes = bytes
  }
}

/// A training step that was compiled.
package struct CompiledStep {
  /// What the library keeps from step to step, by index.
  package var states: [TrainedState]
  package var plan: MemoryPlan
  package var recomputation: RematerializationReport
}

/// Compiles training steps.
package struct TrainingCompiler {
  let target: CompilationTarget

  package init(target: CompilationTarget) { self.target = target }

  /// Passes, layout and memory plan of a graph of training.
  /// - Parameters:
  ///   - keepsOrder: for a step, which is forward, backward, update.
  ///   - limit: within which a step is to stay if it can; nil recomputes what costs next to nothing.
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
    let file = try OutputFile(ModelBundle.join(folder, BundleLayout.trainingWeights))
    try generated.packed.write { try file.write($0) }
    try file.close()
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
