// Values that are cheap to make are made a second time instead of being kept through the whole backward
// pass (Chen et al. 2016, arXiv:1604.06174, with elementwise operators as what is recomputed).

import GraftDiagnostics
import GraftIR
import GraftOps

/// What rematerialization did, for the log.
public struct RematerializationReport: Hashable, Sendable {
  /// The nodes that run a second time, as they are in the changed graph.
  public var again: [NodeID] = []
  /// What these cost, for one image.
  public var multiplyAdds = 0
  /// The greatest sum of live bytes before and after, at batch size 1.
  public var bytesBefore = 0
  public var bytesAfter = 0

  /// Nothing runs a second time.
  public init() {}
}

extension Graph {
  /// Runs elementwise nodes again where a result waits for a reader beyond the fullest moment while all
  /// that it is made from is there anyway.
  ///
  /// A normalization with its activation is the typical case: its input is kept for its own gradient, so its
  /// result, which the gradient of the next convolution reads, need not be. The bits stay the same. Nothing
  /// lives longer than before but vectors of less than a sixteenth of what is saved.
  /// - Throws: ``GraftError`` as planning does.
  @discardableResult
  public mutating func rematerialize() throws -> RematerializationReport {
    let before = try Liveness(self).greatestLiveBytes
    var report = RematerializationReport()
    (report.bytesBefore, report.bytesAfter) = (before, before)
    // What moves the fullest moment may leave another one; each round looks at one.
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

  /// What nodes cost, for one image.
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
      guard node.results.count == 1, let value = node.results.first, !outputs.contains(value),
        let bytes = type(of: value).batchBytes, try isElementwise(node),
        let position = uses.steps[value]?.firstIndex(where: { $0 > peak }),
        let reuse = uses.steps[value]?[position]
      else { continue }
      let isThere = node.presentOperands.allSatisfy { operand in
        if self[operand].parameter != nil || self[operand].definition == .input { return true }
        return (uses.steps[operand]?.last ?? -1) >= reuse
          || (type(of: operand).storedByteCount?.coefficient ?? .max) < bytes / 16
      }
      guard isThere else { continue }
      let again = addNode(
        node.opcode, node.operands, node.attributes, types: [type(of: value)],
        names: [nil], origins: node.origins, before: order[reuse].id)[0]
      for step in uses.steps[value]?[position...] ?? [] {
        let reader = order[step].id
        self[reader].operands = self[reader].operands.map { $0 == value ? again : $0 }
      }
      uses.steps[value]?.removeSubrange(position...)
      for operand in node.presentOperands { uses.add(reuse, to: operand) }
      if let id = producer(of: again)?.id { made.append(id) }
    }
    return made
  }

  /// Whether a node costs one pass over its operands and has no state.
  private func isElementwise(_ node: Node) throws -> Bool {
    let operation = try Catalog.operation(of: node)
    return operation is any UnaryElementwise || operation is any BinaryElementwise
      || operation is any ChannelwiseOperator
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

  /// The step at which most bytes are live, if every value had memory of its own.
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
