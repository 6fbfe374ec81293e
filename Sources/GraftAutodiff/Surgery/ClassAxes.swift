// Changing the number of classes after the head: the class axis of each value, and how operators and
// parameters change.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The class axis of every value after a head.
struct ClassAxes {
  private let head: Head
  private let graph: Graph
  /// The axis of each value that has one element or row per class.
  private(set) var axes: [ValueID: Int] = [:]

  /// Propagates another number of classes from the head to the output.
  /// - Throws: ``GraftError`` of kind `unsupported` that names the node that does not support it.
  init(behind head: Head, in graph: Graph) throws {
    self.head = head
    self.graph = graph
    let other = head.classes + 1
    var types: [ValueID: TensorType] = [:]
    func note(_ value: ValueID, _ type: TensorType, _ node: Node) throws {
      let old = graph.type(of: value)
      let changed =
        old.rank == type.rank ? (0..<old.rank).filter { old.shape[$0] != type.shape[$0] } : []
      if old == type { return }
      guard changed.count == 1, old.shape[changed[0]] == GraftIR.Dimension(head.classes),
        type.shape[changed[0]] == GraftIR.Dimension(other)
      else { throw refusal(node, "\(old) would become \(type)") }
      axes[value] = changed[0]
      types[value] = type
    }
    let result = head.node.results[0]
    var first = graph.type(of: result)
    first.shape[head.classAxis(in: graph)] = GraftIR.Dimension(other)
    try note(result, first, head.node)
    for node in graph.nodes where node.presentOperands.contains(where: { axes[$0] != nil }) {
      let made: [TensorType]
      do {
        let changed = try adapted(node, to: other)
        made = try Catalog.inferTypes(
          changed.operation,
          node.operands.enumerated().map { index, operand in
            guard let operand else { return nil }
            var type = types[operand] ?? graph.type(of: operand)
            if let shape = changed.shapes[index] { type.shape = TensorShape(shape) }
            return type
          })
      } catch let error as GraftError where error.kind != .unsupported {
        throw refusal(node, error.message)
      }
      for (value, type) in zip(node.results, made) { try note(value, type, node) }
    }
    try checkOutput()
  }

  /// For a head with the same number of classes: nothing after it changes.
  init(fixedBehind head: Head, in graph: Graph) {
    self.head = head
    self.graph = graph
  }

  private func checkOutput() throws {
    guard let output = graph.outputs.first else { return }
    let shape = graph.type(of: output.value).shape
    guard let axis = axes[output.value] else {
      throw GraftError(
        .unsupported,
        "the output \(output.name.quotedForDisplay) \(shape) does not have one value for each of the head's "
          + "\(head.classes) classes",
        at: graph.location(of: head.node), advice: Self.advice)
    }
    guard axis > 0 else {
      throw GraftError(
        .unsupported,
        "the output \(output.name.quotedForDisplay) \(shape) has the classes on its first axis, not the batch",
        at: graph.location(of: head.node), advice: Self.advice)
    }
  }

  private static let advice =
    "Keep the number of classes with --head keep, or export the network without the operators after its head."

  private func refusal(_ node: Node, _ found: String) -> GraftError {
    GraftError(
      .unsupported,
      "\(node.opcode) after the head works only with \(head.classes) class\(head.classes == 1 ? "" : "es"): \(found)",
      at: graph.location(of: node), advice: Self.advice)
  }

  /// A node for another number of classes.
  struct Adaptation {
    var operation: any Operator
    /// The new shapes of the parameters that have one value for each class, by operand.
    var shapes: [Int: [Int]] = [:]
  }

  /// - Throws: ``GraftError`` of kind `unsupported` if the node cannot be changed.
  func adapted(_ node: Node, to classes: Int) throws -> Adaptation {
    var result = Adaptation(operation: try Catalog.operation(of: node))
    guard let position = node.operands.firstIndex(where: { $0.map { axes[$0] != nil } ?? false }),
      let value = node.operands[position], let axis = axes[value]
    else { return result }
    let shape = graph.type(of: value).shape
    switch result.operation {
    case var reshape as Reshape:
      guard let target = Self.axis(in: reshape.shape, for: axis, of: shape) else {
        throw refusal(node, "it reshapes \(shape) to \(reshape.shape)")
      }
      reshape.shape[target] = GraftIR.Dimension(classes)
      result.operation = reshape
    case var expand as Expand:
      let target = axis + expand.shape.rank - shape.rank
      if expand.shape[target] == shape[axis] { expand.shape[target] = GraftIR.Dimension(classes) }
      result.operation = expand
    case let channelwise as any ChannelwiseOperator:
      for index in node.operands.indices where axis == 1 {
        let role = type(of: channelwise).role(at: index)
        if role != .value, role != .residual { result.shapes[index] = [classes] }
      }
    case is any BinaryElementwise, is any VariadicElementwise:
      let rank = graph.type(of: node.results[0]).rank
      for (index, operand) in node.operands.enumerated() {
        guard let operand, graph[operand].parameter != nil,
          var own = graph.type(of: operand).shape.constants
        else { continue }
        let place = axis + rank - shape.rank - (rank - own.count)
        if own.indices.contains(place), own[place] == head.classes, !isSingle(operand) {
          own[place] = classes
          result.shapes[index] = own
        }
      }
    default: break
    }
    return result
  }

  /// A scalar that applies to all classes.
  private func isSingle(_ value: ValueID) -> Bool {
    graph.type(of: value).shape.elementCount == 1 && head.classes > 1
  }

  /// The axis of `target` with the same elements before it, and the same extent, as `axis` of `shape`.
  private static func axis(in target: TensorShape, for axis: Int, of shape: TensorShape) -> Int? {
    func before(_ axis: Int, _ shape: TensorShape) -> GraftIR.Dimension? {
      TensorShape(Array(shape.dimensions[..<axis])).elementCount
    }
    let wanted = before(axis, shape)
    let fitting = (0..<target.rank).filter {
      target[$0] == shape[axis] && before($0, target) == wanted
    }
    return fitting.contains(axis) ? axis : fitting.first
  }

  /// The initial value of a per-class parameter.
  ///
  /// A constant that is equal for all classes and does not train is kept; otherwise it is the neutral
  /// element.
  func initialValue(
    of operand: Int, in node: Node, isTrained: Bool
  ) throws -> Float {
    let type = Catalog.type(of: node.opcode)
    let isArithmetic = type?.role(at: operand) == .value
    let elements = node.operand(operand).flatMap { graph[$0].parameter?.data?.floats() } ?? []
    if isArithmetic, !isTrained, let first = elements.first, elements.allSatisfy({ $0 == first }) {
      return first
    }
    guard let neutral = type?.neutral(at: operand) else {
      throw refusal(node, "its operand \(operand) has one value per class")
    }
    return Float(neutral)
  }
}
