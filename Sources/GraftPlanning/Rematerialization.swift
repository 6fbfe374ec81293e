// Recomputes values that are cheap to compute instead of keeping them for the backward pass (Chen et al.
// 2016, arXiv:1604.06174, applied to elementwise operators).

import GraftDiagnostics
import GraftIR
import GraftOps

/// The results of rematerialization, for the log.
public struct RematerializationReport: Hashable, Sendable {
  /// The recomputed nodes in the changed graph.
  public var again: [NodeID] = []
  /// Their multiply-adds per image.
  public var multiplyAdds = 0
  /// The maximum number of live bytes before and after, at batch size 1.
  public var bytesBefore = 0
  public var bytesAfter = 0

  /// A report without recomputed nodes.
  public init() {}
}

extension Graph {
  /// Recomputes elementwise nodes, layer normalizations and transposes whose result is live across the step with the
  /// most live bytes only for a later reader, while all of their operands are live anyway.
  ///
  /// A typical case is a normalization with its activation: its input is kept for its own gradient, so its
  /// result, which the gradient of the next convolution reads, need not be kept. The bits stay the same. No
  /// lifetimes are extended except those of vectors with less than a sixteenth of the saved bytes.
  /// - Throws: ``GraftError`` as planning does.
  @discardableResult
  public mutating func rematerialize() throws -> RematerializationReport {
    let before = try Liveness(self).greatestLiveBytes
    var report = RematerializationReport()
    (report.bytesBefore, report.bytesAfter) = (before, before)
    // Each round handles the step with the most live bytes, which may then change.
    for _ in 0..<4 {
      var candidate = self
      let again = try candidate.rematerializeAcrossPeak()
      let bytes = try Liveness(candidate).greatestLiveBytes
      guard !again.isEmpty, bytes < report.bytesAfter else { break }
      self = candidate
      report.again += again
      report.bytesAfter = bytes
    }
    report.multiplyAdds = try multiplyAdds(of: report.again)
    return report
  }

  /// The cost of nodes per image.
  func multiplyAdds(of nodes: [NodeID]) throws -> Int {
    try nodes.reduce(0) { sum, id in
      let node = self[id]
      return sum
        + (try Catalog.operation(of: node).cost(
          operands: operandTypes(of: node), results: resultTypes(of: node)
        ).multiplyAdds)
    }
  }

  private mutating func rematerializeAcrossPeak() throws -> [NodeID] {
    var uses = Uses(of: self)
    let peak = uses.fullestStep(of: self)
    let outputs = Set(outputs.map(\.value))
    let order = nodes
    var made: [NodeID] = []
    for (step, node) in order.enumerated() where step < peak {
      guard let value = node.results.first, !outputs.contains(value),
        let bytes = type(of: value).storedByteCount?.coefficient,
        let position = uses.steps[value]?.firstIndex(where: { $0 > peak }),
        let reuse = uses.steps[value]?[position],
        let chain = try recomputation(of: node, bytes: bytes, at: reuse, uses)
      else { continue }
      var copies: [ValueID: ValueID] = [:]
      for link in chain {
        let results = addNode(
          link.opcode, link.operands.map { $0.map { copies[$0] ?? $0 } }, link.attributes,
          types: resultTypes(of: link), names: link.results.map { _ in nil }, origins: link.origins,
          before: order[reuse].id)
        for (old, new) in zip(link.results, results) { copies[old] = new }
        for operand in link.presentOperands where copies[operand] == nil {
          uses.add(reuse, to: operand)
        }
      }
      guard let again = copies[value] else { continue }
      for step in uses.steps[value]?[position...] ?? [] {
        let reader = order[step].id
        self[reader].operands = self[reader].operands.map { $0 == value ? again : $0 }
      }
      uses.steps[value]?.removeSubrange(position...)
      made += chain.compactMap { link in
        link.results.first.flatMap { copies[$0] }.flatMap { producer(of: $0)?.id }
      }
    }
    return made
  }

  /// The nodes to compute again for a node's result at the step `reuse`: the node, and if it moves elements those
  /// before it, in order; nil if an operand is not there.
  private func recomputation(
    of node: Node, bytes: Int, at reuse: Int, _ uses: Uses
  ) throws -> [Node]? {
    func isThere(_ operand: ValueID) -> Bool {
      if self[operand].parameter != nil || self[operand].definition == .input { return true }
      return (uses.steps[operand]?.last ?? -1) >= reuse
        || (type(of: operand).storedByteCount?.coefficient ?? .max) < bytes / 16
    }
    var chain: [Node] = []
    var next: Node? = node
    while let link = next, chain.count < Self.longestChain {
      chain.insert(link, at: 0)
      if try isOnePass(link), link.presentOperands.allSatisfy(isThere) { return chain }
      let operation = try Catalog.operation(of: link)
      guard operation.isView || isMovement(operation), let x = link.operand(0) else { return nil }
      next = producer(of: x).flatMap { $0.results.first == x ? $0 : nil }
    }
    return nil
  }

  /// The most nodes that are computed again for one value, all but the first of which move elements.
  private static let longestChain = 3

  /// Whether a node costs one pass over its operands and has no state. Of a layer normalization the statistics, which
  /// are small, are kept.
  private func isOnePass(_ node: Node) throws -> Bool {
    let operation = try Catalog.operation(of: node)
    return operation is any UnaryElementwise || operation is any BinaryElementwise
      || operation is any ChannelwiseOperator || operation is LayerNormalization
      || isMovement(operation)
  }

  private func isMovement(_ operation: any Operator) -> Bool {
    operation is Transpose || operation is ConvertLayout
  }
}

/// The steps at which values are read.
private struct Uses {
  /// In ascending order, each once.
  var steps: [ValueID: [Int]] = [:]

  init(of graph: Graph) {
    for (step, node) in graph.nodes.enumerated() {
      for operand in Set(node.presentOperands) { steps[operand, default: []].append(step) }
    }
  }

  mutating func add(_ step: Int, to value: ValueID) {
    var own = steps[value] ?? []
    guard !own.contains(step) else { return }
    own.insert(step, at: own.firstIndex { $0 > step } ?? own.count)
    steps[value] = own
  }

  /// The step with the most live bytes, without memory sharing.
  func fullestStep(of graph: Graph) -> Int {
    var change: [Int: Int] = [:]
    for (step, node) in graph.nodes.enumerated() {
      for result in node.results {
        let bytes = graph.type(of: result).batchBytes ?? 0
        change[step, default: 0] += bytes
        change[(steps[result]?.last ?? step) + 1, default: 0] -= bytes
      }
    }
    var (live, most, fullest) = (0, 0, 0)
    for step in change.keys.sorted() {
      live += change[step, default: 0]
      if live > most { (most, fullest) = (live, step) }
    }
    return fullest
  }
}

extension TensorType {
  /// The bytes of one image; nil if they do not grow with the batch.
  var batchBytes: Int? {
    guard let bytes = storedByteCount, bytes.isBatch else { return nil }
    return bytes.coefficient
  }
}
