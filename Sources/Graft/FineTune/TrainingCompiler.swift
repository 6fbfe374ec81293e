// From the tail of a network to libtrain.so: the training graph through the passes, layout, plan, code and
// clang, as the inference network goes.

import GraftAutodiff
import GraftCodegen
import GraftData
import GraftDiagnostics
import GraftIR
import GraftPasses
import GraftPlanning

/// A graph that is ready for code generation.
struct LoweredGraph {
  var graph: Graph
  var plan: MemoryPlan
  var passes: PassReport
}

/// Compiles training steps.
struct TrainingCompiler {
  let target: CompilationTarget

  /// Passes, layout and memory plan of a training graph. Its order stays: forward, backward, update.
  func lower(_ graph: Graph, keepsOrder: Bool) throws -> LoweredGraph {
    var graph = graph
    let manager = PassManager(
      Pipeline.inference + Pipeline.layout, mode: .training, channelBlock: target.lanes)
    var report = try manager.run(&graph)
    report.notes.append(
      keepsOrder ? try graph.rematerialize().note : try graph.scheduleForMemory().note)
    return LoweredGraph(graph: graph, plan: try MemoryPlan(planning: graph), passes: report)
  }

  /// Writes libtrain.so, train.bin and the C into `folder`.
  /// - Returns: what the library keeps from step to step, by index.
  @discardableResult
  func compile(
    _ training: TrainingGraph, groupNames: [String], into folder: String
  ) throws -> [TrainedState] {
    let step = try lower(training.step, keepsOrder: true)
    let evaluation = try lower(training.evaluation, keepsOrder: false)
    let generated = try TrainingGenerator(target: target).generate(
      step: step.graph, stepPlan: step.plan, evaluation: evaluation.graph,
      evaluationPlan: evaluation.plan, groupNames: groupNames)
    let file = try OutputFile(ModelBundle.join(folder, BundleLayout.trainingWeights))
    try generated.packed.write { try file.write($0) }
    try file.close()
    try Toolchain.find().compile(generated, into: folder)
    return generated.states
  }
}

extension RematerializationReport {
  /// The line of the pass log.
  var note: PassNote {
    PassNote(
      pass: "rematerialize", action: nodes > 0 ? .did : .left,
      message: nodes > 0
        ? "\(nodes) elementwise nodes run again in the backward pass: \(bytesAfter) live bytes an image "
          + "instead of \(bytesBefore)"
        : "nothing that is cheap to make again waits for the backward pass")
  }
}
