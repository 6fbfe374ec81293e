// Whole stretches of the forward pass are run a second time in the backward pass instead of keeping their
// values, where a limit on memory asks for it (Chen et al. 2016, arXiv:1604.06174, algorithm 3). The values
// between stretches are kept. What is recomputed for next to nothing is Rematerialization's.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Graph {
  /// Runs stretches of the forward pass again, the cheapest choice found with which the step's arena takes at
  /// most `bytes`; where none does, the one that takes least. Then rematerializes as ``rematerialize()``.
  ///
  /// The bits of every result stay the same: a node that runs again reads what it read before, random masks are
  /// functions of the step's input, and what does not grow with the batch, such as the statistics that
  /// running averages follow, is kept.
  /// - Parameters:
  ///   - answer: the last value of the forward pass: what is made up to it is what may run again.
  ///   - batch: images of a step.
  ///   - bytes: what ``MemoryPlan/bytes(batch:)`` is to come to.
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

/// Neighboring nodes of the forward pass.
private struct Stretch {
  var steps: Range<Int>
  /// Bytes of one image that the backward pass reads of them.
  var savedBytes: Int
  /// What running all of them again would cost.
  var multiplyAdds: Int

  var workPerByte: Double { Double(multiplyAdds) / Double(max(1, savedBytes)) }
}

/// Tries partitions of the forward pass, and of each as many stretches as it takes.
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
    // Offsets may need more than the sum of what is live; then the search aims lower.
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

  /// The fewest stretches of one partition with which at most `bytes` are live, those that save most for their
  /// work first; and the choice that takes least memory of all that were looked at.
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

  /// Whether a value is one that may be worth not keeping.
  private func batchBytes(_ value: ValueID) -> Int? {
    guard let step = steps[value], step < turn, canRunAgain[step] else { return nil }
    return graph.type(of: value).batchBytes
  }

  /// Bytes of one image that the backward pass reads of each step of the forward pass.
  private func savedBytes() -> [Int] {
    nodes[..<turn].map { node in
      node.results.reduce(0) { sum, value in
        (reads[value]?.last ?? -1) >= turn ? sum + (batchBytes(value) ?? 0) : sum
      }
    }
  }

  /// For each step the bytes of one image that it and later steps of the forward pass read of earlier ones.
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

  /// Partitions into stretches of about the same saved bytes, cut where little is live, without the last
  /// stretch, whose values are read at once.
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

  /// The graph in which these stretches run again just before the first that reads one of their values.
  private func candidate(_ stretches: [Stretch]) throws -> Candidate {
    var changed = graph
    var again: [NodeID] = []
    // What the second run of a later stretch reads of an earlier one stays, so that one need not make it.
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
      // What is kept is read as it was made first; a node of several results may hold both kinds.
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
