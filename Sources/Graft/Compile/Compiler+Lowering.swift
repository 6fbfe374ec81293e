// From an imported graph to a scheduled one with its memory plan, in steps that graft dump can show.

import GraftCodegen
import GraftDiagnostics
import GraftIR
import GraftOps
import GraftPasses
import GraftPlanning

extension Compiler {
  /// Lowers `graph` to `stage`, or to the graph after one pass.
  /// - Parameters:
  ///   - pass: the name of a pass; `stage` is then ignored.
  ///   - quantization: what puts the layers on bytes, before the stage `scheduled`; nil leaves them in float32.
  /// - Throws: ``GraftError`` of kind `invalidArgument` for an unknown pass, and for the stage `training`,
  ///   which is not part of this pipeline.
  public func lower(
    _ graph: Graph, to stage: Stage, afterPass pass: String? = nil,
    quantization: QuantizationRecord? = nil
  ) throws -> Moment {
    var moment = Moment(graph: graph, plan: nil, passes: PassReport())
    guard pass != nil || stage != .training else {
      throw GraftError(
        .invalidArgument, "a training step needs training options")
    }
    if pass == nil, stage == .import { return moment }
    try run(Pipeline.inference, on: &moment, keepsGraphs: pass != nil)
    if pass == nil, stage == .optimized { return moment }
    try quantize(
      &moment, quantization.map { NetworkQuantization(recorded: $0) }, keepsGraphs: pass != nil)
    try run(Pipeline.layout, on: &moment, keepsGraphs: pass != nil)
    if let pass {
      guard let graph = moment.passes.graph(after: pass) else {
        throw GraftError(
          .invalidArgument,
          "unknown pass \(pass.quotedForDisplay); the passes are "
            + moment.passes.records.map(\.name).uniqued().joined(separator: ", "))
      }
      return Moment(graph: graph, plan: nil, passes: moment.passes)
    }
    moment.passes.notes.append(try moment.graph.scheduleForMemory().note)
    generator.noteKernels(in: &moment.graph)
    if stage == .memory {
      moment.plan = try MemoryPlan(planning: moment.graph)
      moment.scratchBytesPerThread = try? generator.scratchBytesPerThread(graph: moment.graph)
    }
    return moment
  }

  /// Runs the passes that do not depend on the layout in memory, and keeps some values available as taps.
  /// - Parameter kept: the values, with the names of their taps.
  func optimize(_ graph: Graph, keeping kept: [GraphOutput]) throws -> Moment {
    var moment = Moment(graph: graph, plan: nil, passes: PassReport())
    let taken = Set(graph.outputs.map(\.name))
    for (index, value) in kept.enumerated() {
      // As outputs they are not fused away.
      var name = "freeze line \(index)"
      while taken.contains(name) { name += "'" }
      moment.graph.outputs.append(GraphOutput(name: name, value: value.value))
    }
    try run(Pipeline.inference, on: &moment, keepsGraphs: false)
    let values = moment.graph.outputs.suffix(kept.count).map(\.value)
    moment.graph.outputs.removeLast(kept.count)
    for (entry, value) in zip(kept, values) { moment.graph.rename(value, to: entry.name) }
    moment.graph.removeDeadCode()
    return moment
  }

  /// Lowers an optimized graph to its memory plan.
  func schedule(
    _ optimized: Moment, quantizing quantization: NetworkQuantization?
  ) throws -> (program: ScheduledProgram, passes: PassReport) {
    var moment = optimized
    try quantize(&moment, quantization, keepsGraphs: false)
    try run(Pipeline.layout, on: &moment, keepsGraphs: false)
    moment.passes.notes.append(try moment.graph.scheduleForMemory().note)
    let plan = try MemoryPlan(planning: moment.graph)
    return (ScheduledProgram(graph: moment.graph, plan: plan), moment.passes)
  }

  /// The optimized graph on bytes with recorded ranges, in plain layouts.
  func putOnBytes(_ graph: Graph, _ record: QuantizationRecord) throws -> Graph {
    var moment = Moment(graph: graph, plan: nil, passes: PassReport())
    try run(Pipeline.inference, on: &moment, keepsGraphs: false)
    try quantize(&moment, NetworkQuantization(recorded: record), keepsGraphs: false)
    return moment.graph
  }

  private func quantize(
    _ moment: inout Moment, _ quantization: NetworkQuantization?, keepsGraphs: Bool
  ) throws {
    guard let quantization else { return }
    let entry = PipelineEntry(
      quantization.pass(for: moment.graph),
      because: "everything that can be folded has been, and layouts depend on it")
    try run([entry], on: &moment, keepsGraphs: keepsGraphs)
  }

  private func run(
    _ pipeline: [PipelineEntry], on moment: inout Moment, keepsGraphs: Bool
  ) throws {
    let manager = PassManager(
      pipeline,
      costs: KernelCostModel(
        target: options.target, roundsFactors: options.precision == .bfloat16),
      keepsGraphs: keepsGraphs)
    moment.passes.append(try manager.run(&moment.graph))
  }
}

extension Graph {
  /// Names the result of a node, and removes the name from any other result.
  fileprivate mutating func rename(_ value: ValueID, to name: String) {
    guard producer(of: value) != nil else { return }
    for other in nodes.flatMap(\.results) where self[other].name == name {
      self[other].name = nil
    }
    self[value].name = name
  }
}
