// Liveness of a scheduled graph: which values share memory, and the first and last step of each buffer.
// Sharing is decided here, in execution order: views without copies, and results that overwrite an operand
// without later readers.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Values that share memory.
struct MemoryGroup {
  enum Home: Hashable {
    /// An input of the graph: the caller's memory, which is never written.
    case input
    /// A parameter of the graph.
    case parameter
    /// An output of the graph: the caller's memory.
    case output
    case arena
  }

  /// The representative of the group: the first value, or the output.
  var root: ValueID
  var members: [ValueID]
  var home: Home
  /// Bytes as laid out, an integer or k·N.
  var byteCount: Dimension
  /// Steps during which the contents must be kept.
  var lifetime: ClosedRange<Int>
}

/// The groups of a graph whose nodes run in their order.
struct Liveness {
  private(set) var groups: [MemoryGroup] = []
  private var groupOf: [ValueID: Int] = [:]
  private var lastUse: [ValueID: Int] = [:]
  private let graph: Graph

  /// - Throws: ``GraftError`` for unknown operators, sizes that overflow, and an output that is not in
  ///   plain layout.
  init(_ graph: Graph) throws {
    self.graph = graph
    for (step, node) in graph.nodes.enumerated() {
      for operand in node.presentOperands { lastUse[operand] = step }
    }
    for input in graph.inputs { try begin(input, home: .input, step: 0) }
    for parameter in graph.parameters { try begin(parameter, home: .parameter, step: 0) }
    let outputs = try Self.checkedOutputs(of: graph)
    let end = max(0, graph.nodeCount - 1)
    for (step, node) in graph.nodes.enumerated() {
      let operation = try Catalog.operation(of: node)
      for (index, result) in node.results.enumerated() {
        if index == 0, try share(result, of: node, operation, at: step, outputs: outputs) {
          continue
        }
        try begin(result, home: outputs.contains(result) ? .output : .arena, step: step)
      }
    }
    for index in groups.indices where groups[index].home == .output {
      groups[index].lifetime = groups[index].lifetime.lowerBound...end
    }
  }

  /// The maximum number of live bytes in the arena at batch size 1.
  var greatestLiveBytes: Int {
    GraftPlanning.greatestLiveBytes(
      groups.filter { $0.home == .arena }.map {
        BufferRequest(lifetime: $0.lifetime, byteCount: $0.byteCount.coefficient)
      })
  }

  /// A lower bound on the arena for `batch` images, where buffers that grow with the batch are placed
  /// separately from fixed ones.
  func greatestLiveBytes(batch: Int) -> Int {
    func bytes(_ isBatch: Bool) -> Int {
      GraftPlanning.greatestLiveBytes(
        groups.filter { $0.home == .arena && $0.byteCount.isBatch == isBatch }.map {
          BufferRequest(lifetime: $0.lifetime, byteCount: $0.byteCount.coefficient)
        })
    }
    let (product, overflow) = bytes(true).multipliedReportingOverflow(by: batch)
    let (sum, more) = product.addingReportingOverflow(bytes(false))
    return overflow || more ? Int.max : sum
  }

  /// The outputs that nodes make: they live in the caller's memory. An output that is an input or a
  /// parameter is copied at the end.
  private static func checkedOutputs(of graph: Graph) throws -> Set<ValueID> {
    for output in graph.outputs where !graph.type(of: output.value).layout.isPlain {
      throw GraftError(
        .inconsistency,
        "output \(output.name.quotedForDisplay) is \(graph.type(of: output.value)), expected a plain "
          + "layout, as in the interface")
    }
    return Set(graph.outputs.map(\.value).filter { graph.producer(of: $0) != nil })
  }

  private mutating func begin(_ value: ValueID, home: MemoryGroup.Home, step: Int) throws {
    guard let bytes = graph.type(of: value).storedByteCount else {
      throw GraftError(
        .invalidGraph, "\((graph[value].name ?? "a value").quotedForDisplay) is too large")
    }
    groupOf[value] = groups.count
    groups.append(
      MemoryGroup(
        root: value, members: [value], home: home, byteCount: bytes,
        lifetime: step...max(step, lastUse[value] ?? step)))
  }

  private mutating func join(_ value: ValueID, _ index: Int) {
    groupOf[value] = index
    groups[index].members.append(value)
    let last = max(groups[index].lifetime.upperBound, lastUse[value] ?? 0)
    groups[index].lifetime = groups[index].lifetime.lowerBound...last
  }

  /// Makes `result` share memory with an operand if possible without a copy.
  private mutating func share(
    _ result: ValueID, of node: Node, _ operation: any Operator, at step: Int,
    outputs: Set<ValueID>
  ) throws -> Bool {
    if graph.isFreeView(node, operation), let source = node.operand(0), let index = groupOf[source]
    {
      if !outputs.contains(result) {
        join(result, index)
        return true
      }
      // If the last view of a value is an output, the value is computed in the output's buffer.
      guard groups[index].home == .arena else { return false }
      join(result, index)
      groups[index].home = .output
      groups[index].root = result
      return true
    }
    guard !outputs.contains(result) else { return false }
    for position in operation.overwritableOperands {
      guard let operand = node.operand(position), let index = groupOf[operand],
        groups[index].home == .arena, canOverwrite(operand, with: result),
        groups[index].lifetime.upperBound <= step,
        isReadOnlyElementwise(index, by: node, operation.overwritableOperands)
      else { continue }
      join(result, index)
      return true
    }
    return false
  }

  private func canOverwrite(_ operand: ValueID, with result: ValueID) -> Bool {
    let (old, new) = (graph.type(of: operand), graph.type(of: result))
    return old.dtype == new.dtype && old.layout == new.layout && old.shape == new.shape
  }

  /// Whether the kernel reads every operand in the group before it writes the same address.
  private func isReadOnlyElementwise(_ group: Int, by node: Node, _ overwritable: [Int]) -> Bool {
    node.operands.enumerated().allSatisfy { position, operand in
      guard let operand, groupOf[operand] == group else { return true }
      return overwritable.contains(position)
    }
  }
}

extension Graph {
  /// Whether the first result has the same bytes as the first operand: a reshape of plain memory, or a layout
  /// conversion that moves nothing.
  func isFreeView(_ node: Node, _ operation: any Operator) -> Bool {
    guard let operand = node.operand(0), let result = node.results.first else { return false }
    let (old, new) = (type(of: operand), type(of: result))
    if operation.isView { return old.layout.isPlain && new.layout.isPlain }
    let support = operation.layoutSupport(operands: [old], results: [new])
    return support == .conversion && old.isSameMemory(as: new)
  }
}

extension TensorType {
  /// Whether a value of this type and one of `other` type have the same bytes in the same order.
  ///
  /// True for equal layouts, and for layouts that differ only in the channel block if the image is one pixel
  /// without a border and the channels fill whole blocks.
  public func isSameMemory(as other: TensorType) -> Bool {
    guard dtype == other.dtype, shape == other.shape else { return false }
    if layout == other.layout { return true }
    guard rank == 4, shape[2] == 1, shape[3] == 1, let channels = shape[1].constant else {
      return false
    }
    return [layout, other.layout].allSatisfy {
      $0.borderHeight == 0 && $0.borderWidth == 0 && channels.isMultiple(of: $0.channelBlock)
    }
  }
}
