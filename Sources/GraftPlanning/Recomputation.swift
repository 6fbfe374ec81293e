// Recomputes whole segments of the forward pass in the backward pass under a memory limit (Chen et al. 2016,
// arXiv:1604.06174, algorithm 3). The values between segments are kept. Rematerialization.swift recomputes
// cheap values.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Graph {
  /// Recomputes segments of the forward pass: the cheapest choice found whose arena has at most `bytes`, or
  /// the smallest if there is none. Then rematerializes as ``rematerialize()``.
  ///
  /// All results keep their bits: a recomputed node reads the same operands, random masks are functions of
  /// the step's input, and values that do not grow with the batch, such as batch statistics, are kept.
  /// - Parameters:
  ///   - answer: the last value of the forward pass; nodes up to it can be recomputed.
  ///   - batch: the batch size of a step.
  ///   - bytes: the limit on ``MemoryPlan/bytes(batch:)``.
  /// - Throws: ``GraftError`` as planning does.
  public mutating func recompute(
    forwardUpTo answer: ValueID, batch: Int, within bytes: Int
  ) throws -> RematerializationReport {
    let search = try RecomputationSearch(self, forwardUpTo: answer, batch: batch)
    let (graph, report) = try search.choose(within: bytes)
    self = graph
    return report
  }
}

extension MemoryPlan {
  /// Bytes of the arena for `batch` images, saturating.
  public func bytes(batch: Int) -> Int {
    let (product, overflow) = arenaBytesPerBatch.multipliedReportingOverflow(by: batch)
    let (sum, more) = product.addingReportingOverflow(fixedBytes)
    return overflow || more ? Int.max : sum
  }
}

/// A segment of consecutive nodes of the forward pass.
private struct Stretch {
  var steps: Range<Int>
  /// Bytes per image of its values that the backward pass reads.
  var savedBytes: Int
  /// The cost of recomputing all of its nodes.
  var multiplyAdds: Int

  var workPerByte: Double { Double(multiplyAdds) / Double(max(1, savedBytes)) }
}

/// Searches over partitions of the forward pass into segments, and over the segments to recompute.
private struct RecomputationSearch {
  private struct Candidate {
    var graph: Graph
    var report: RematerializationReport
    var bytes: Int
  }

  private let graph: Graph
  private let nodes: [Node]
  private let batch: Int
  /// The first step of the backward pass.
  private let turn: Int
  private var steps: [ValueID: Int] = [:]
  private var reads: [ValueID: [Int]] = [:]
  private var costs: [Int] = []
  private var canRunAgain: [Bool] = []

  init(_ graph: Graph, forwardUpTo answer: ValueID, batch: Int) throws {
    self.graph = graph
    self.batch = batch
    nodes = graph.nodes
    let last = graph.producer(of: answer)?.id
    turn = (nodes.firstIndex { $0.id == last } ?? -1) + 1
    for (step, node) in nodes.enumerated() {
      for result in node.results { steps[result] = step }
      for operand in Set(node.presentOperands) { reads[operand, default: []].append(step) }
    }
    for node in nodes[..<turn] {
      let operation = try Catalog.operation(of: node)
      costs.append(try graph.multiplyAdds(of: [node.id]))
      canRunAgain.append(
        !(operation is any StateUpdate)
          && !node.results.contains(where: graph.isOutput))
    }
  }

  /// The candidate with the least work among those whose arena is small enough, else the smallest.
  func choose(within bytes: Int) throws -> (Graph, RematerializationReport) {
    var least = try candidate([])
    if try arena(of: least) <= bytes { return (least.graph, least.report) }
    // The arena can exceed the number of live bytes; then the search uses a lower target.
    var aim = bytes
    for _ in 0..<4 {
      var best: Candidate?
      for stretches in partitions() {
        let (found, smallest) = try cheapest(of: stretches, within: aim)
        if smallest.bytes < least.bytes { least = smallest }
        if let found, found.report.multiplyAdds < best?.report.multiplyAdds ?? .max { best = found }
      }
      guard let best else { break }
      let needed = try arena(of: best)
      if needed <= bytes { return (best.graph, best.report) }
      aim = min(aim - 1, Int(Double(aim) * Double(bytes) / Double(needed)))
    }
    return (least.graph, least.report)
  }

  private func arena(of candidate: Candidate) throws -> Int {
    try MemoryPlan(planning: candidate.graph).bytes(batch: batch)
  }

  /// The fewest segments of one partition with which at most `bytes` are live, in order of bytes saved per
  /// work; and the choice with the least memory of all examined ones.
  private func cheapest(
    of stretches: [Stretch], within bytes: Int
  ) throws -> (found: Candidate?, smallest: Candidate) {
    let ranked = stretches.sorted {
      ($0.workPerByte, $0.steps.lowerBound) < ($1.workPerByte, $1.steps.lowerBound)
    }
    var smallest = try candidate(ranked)
    guard smallest.bytes <= bytes else { return (nil, smallest) }
    var (low, high, found) = (1, ranked.count, smallest)
    while low < high {
      let middle = (low + high) / 2
      let tried = try candidate(Array(ranked[..<middle]))
      if tried.bytes < smallest.bytes { smallest = tried }
      if tried.bytes <= bytes { (high, found) = (middle, tried) } else { low = middle + 1 }
    }
    return (found, smallest)
  }

  // MARK: Partitions

  /// Whether a value is a candidate for recomputation.
  private func batchBytes(_ value: ValueID) -> Int? {
    guard let step = steps[value], step < turn, canRunAgain[step] else { return nil }
    return graph.type(of: value).batchBytes
  }

  /// For each step of the forward pass, the bytes per image of its results that the backward pass reads.
  private func savedBytes() -> [Int] {
    nodes[..<turn].map { node in
      node.results.reduce(0) { sum, value in
        (reads[value]?.last ?? -1) >= turn ? sum + (batchBytes(value) ?? 0) : sum
      }
    }
  }

  /// For each step, the bytes per image of earlier results that it and later steps of the forward pass read.
  private func cutBytes() -> [Int] {
    var change = Array(repeating: 0, count: turn + 1)
    for (step, node) in nodes[..<turn].enumerated() {
      for value in node.results {
        guard let bytes = graph.type(of: value).batchBytes,
          let last = reads[value]?.last(where: { $0 < turn })
        else { continue }
        change[step + 1] += bytes
        change[last + 1] -= bytes
      }
    }
    var live = 0
    return change.map {
      live += $0
      return live
    }
  }

  /// Partitions into segments with about equal saved bytes, split where few bytes are live, without the last
  /// segment, whose values are read immediately.
  private func partitions() -> [[Stretch]] {
    let (saved, cuts) = (savedBytes(), cutBytes())
    let total = saved.reduce(0, +)
    guard total > 0 else { return [] }
    var seen = Set<[Int]>()
    return [2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48].compactMap { parts in
      let most = max(1, total / parts)
      var bounds = [0]
      var (held, candidate) = (0, 0)
      for step in 0..<turn {
        held += saved[step]
        if held >= most / 2, step > bounds[bounds.count - 1] {
          if candidate <= bounds[bounds.count - 1] || cuts[step] <= cuts[candidate] {
            candidate = step
          }
        }
        if held > most, candidate > bounds[bounds.count - 1] {
          bounds.append(candidate)
          held = saved[candidate...step].reduce(0, +)
        }
      }
      guard bounds.count > 1, seen.insert(bounds).inserted else { return nil }
      return zip(bounds, bounds.dropFirst()).map { from, to in
        Stretch(
          steps: from..<to, savedBytes: saved[from..<to].reduce(0, +),
          multiplyAdds: costs[from..<to].reduce(0, +))
      }.filter { $0.savedBytes > 0 }
    }
  }

  // MARK: Rewriting

  /// The graph in which these segments are recomputed just before the first reader of one of their values.
  private func candidate(_ stretches: [Stretch]) throws -> Candidate {
    var changed = graph
    var again: [NodeID] = []
    // Values of an earlier segment that a recomputed later segment reads are kept, not recomputed.
    var kept = Set<ValueID>()
    for stretch in stretches.sorted(by: { $0.steps.lowerBound > $1.steps.lowerBound }) {
      again += run(stretch, again: &changed, keeping: &kept)
    }
    var report = try changed.rematerialize()
    report.again = again + report.again
    report.multiplyAdds = try changed.multiplyAdds(of: report.again)
    report.bytesBefore = try Liveness(graph).greatestLiveBytes
    return Candidate(
      graph: changed, report: report,
      bytes: try Liveness(changed).greatestLiveBytes(batch: batch))
  }

  private func run(
    _ stretch: Stretch, again changed: inout Graph, keeping kept: inout Set<ValueID>
  ) -> [NodeID] {
    let own = stretch.steps
    let wanted = nodes[own].flatMap(\.results).filter {
      batchBytes($0) != nil && !kept.contains($0) && (reads[$0]?.last ?? -1) >= turn
    }
    guard let first = wanted.compactMap({ reads[$0]?.first { $0 >= turn } }).min() else {
      return []
    }
    var needed = Set(wanted)
    var running: [Int] = []
    for step in own.reversed()
    where canRunAgain[step] && nodes[step].results.contains(where: needed.contains) {
      running.append(step)
      for operand in nodes[step].presentOperands where batchBytes(operand) != nil {
        if let made = steps[operand], own.contains(made), !kept.contains(operand) {
          needed.insert(operand)
        } else {
          kept.insert(operand)
        }
      }
    }
    var copies: [ValueID: ValueID] = [:]
    var again: [NodeID] = []
    for step in running.reversed() {
      let node = nodes[step]
      let made = changed.addNode(
        node.opcode, node.operands.map { $0.map { copies[$0] ?? $0 } }, node.attributes,
        types: changed.resultTypes(of: node), origins: node.origins, before: nodes[first].id)
      // Kept values are not recomputed; a node with several results may have both kinds.
      for (old, new) in zip(node.results, made) where needed.contains(old) { copies[old] = new }
      if let id = made.first.flatMap({ changed.producer(of: $0)?.id }) { again.append(id) }
    }
    let readers = Set(wanted.flatMap { reads[$0]?.filter { $0 >= turn } ?? [] })
    for step in readers {
      let id = nodes[step].id
      changed[id].operands = changed[id].operands.map { $0.map { copies[$0] ?? $0 } }
    }
    return again
  }
}
