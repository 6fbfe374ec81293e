// Runs a pipeline: verifies the graph after every pass, times it, keeps the log, and optionally the graph
// after each pass.

import GraftDiagnostics
import GraftIR
import GraftOps

/// An entry of a pipeline: a pass, and the reason for its position.
public struct PipelineEntry: Sendable {
  public let pass: any Pass
  public let because: String

  public init(_ pass: any Pass, because: String) {
    self.pass = pass
    self.because = because
  }

  public var name: String { type(of: pass).name }
}

/// The time and log of one pass.
public struct PassRecord: Sendable {
  public let name: String
  public let seconds: Double
  public let nodesBefore: Int
  public let nodesAfter: Int
  /// False if the pass does not support the mode.
  public let ran: Bool
  /// The graph after the pass, if the manager keeps graphs.
  public let graph: Graph?
}

/// The results of a pipeline.
public struct PassReport: Sendable {
  public var records: [PassRecord] = []
  public var notes: [PassNote] = []

  public init() {}

  /// The graph after the last run of the pass `name`.
  public func graph(after name: String) -> Graph? {
    records.last { $0.name == name && $0.ran }?.graph
  }

  /// The report of this pipeline followed by another.
  public mutating func append(_ other: PassReport) {
    records += other.records
    notes += other.notes
  }
}

/// Runs passes one after the other.
public struct PassManager: Sendable {
  public let pipeline: [PipelineEntry]
  public let mode: PassMode
  public let costs: (any NodeCostModel)?
  /// Whether to keep the graph after each pass in the report.
  public let keepsGraphs: Bool

  /// - Parameter costs: the cost model of the target's kernels; nil keeps all layouts plain.
  public init(
    _ pipeline: [PipelineEntry], mode: PassMode = .inference,
    costs: (any NodeCostModel)? = nil, keepsGraphs: Bool = false
  ) {
    self.pipeline = pipeline
    self.mode = mode
    self.costs = costs
    self.keepsGraphs = keepsGraphs
  }

  /// Runs the pipeline on `graph`, which is verified before the first pass and after every one.
  /// - Throws: ``GraftError`` of kind `inconsistency` naming the pass that broke the graph.
  public func run(_ graph: inout Graph) throws -> PassReport {
    try graph.verify()
    var report = PassReport()
    var context = PassContext(mode: mode, costs: costs)
    let clock = ContinuousClock()
    for entry in pipeline {
      guard type(of: entry.pass).modes.contains(mode) else {
        report.records.append(
          PassRecord(
            name: entry.name, seconds: 0, nodesBefore: graph.nodeCount,
            nodesAfter: graph.nodeCount, ran: false, graph: nil))
        continue
      }
      context.pass = entry.name
      let nodesBefore = graph.nodeCount
      let duration = try clock.measure {
        try withContext("running the pass \(entry.name)") {
          try entry.pass.run(&graph, &context)
        }
      }
      try verify(graph, after: entry.name)
      report.records.append(
        PassRecord(
          name: entry.name, seconds: duration / .seconds(1), nodesBefore: nodesBefore,
          nodesAfter: graph.nodeCount, ran: true, graph: keepsGraphs ? graph : nil))
    }
    report.notes = context.notes
    return report
  }

  private func verify(_ graph: Graph, after pass: String) throws {
    do { try graph.verify() } catch let error as GraftError {
      var broken = error.adding(context: "verifying the graph after the pass \(pass)")
      broken.kind = .inconsistency
      throw broken
    }
  }
}
