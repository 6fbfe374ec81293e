// The end of a network: the final activation that computes probabilities, found through operators without
// effect after it, and the logits before it.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The end of a network as a classifier's.
public struct Ending: Sendable {
  public enum Activation: Hashable, Sendable {
    /// The output is the logits.
    case none
    case softmax
    case logSoftmax
    /// Independent probabilities per unit; for a single unit, the probability of the second of two classes.
    case sigmoid
    /// Another operator; its results are scores, not probabilities.
    case other(Opcode)
  }

  public let activation: Activation
  /// The value that the activation is applied to; the output itself for ``Activation/none`` and
  /// ``Activation/other(_:)``.
  public let logits: ValueID
  /// The number of scores per item, or per position if there are several.
  public let units: Int
  /// The axis of the scores of one position, if an item has several positions, such as the pixels of an image:
  /// that of the softmax, else of the head's units, else 1.
  public let classAxis: Int?

  /// Whether the output is a single probability of two classes.
  public var isBinary: Bool { activation == .sigmoid && units == 1 }
  /// Whether the network is a multi-label classifier.
  public var isMultiLabel: Bool { activation == .sigmoid && units > 1 }
  /// The number of classes.
  public var classes: Int { isBinary ? 2 : units }

  /// - Throws: ``GraftError`` of kind `invalidGraph` for a node that no operator reads.
  public init(of output: ValueID, in graph: Graph) throws {
    let shape = graph.type(of: output).shape
    (activation, logits) = try Self.activation(before: output, in: graph)
    guard shape.rank >= 3, shape.dimensions.dropFirst().count(where: { $0 != 1 }) > 1 else {
      classAxis = nil
      units = TensorShape(Array(shape.dimensions.dropFirst())).elementCount?.constant ?? 0
      return
    }
    let axis = Self.classAxis(of: output, behind: logits, in: graph)
    classAxis = axis
    units = shape[axis].constant ?? 0
  }

  private static func classAxis(of output: ValueID, behind logits: ValueID, in graph: Graph) -> Int
  {
    let reader = graph.readers(of: logits).lazy.compactMap { graph[$0] }.first {
      Catalog.type(of: $0.opcode) is any ProbabilityActivation.Type
    }
    let rank = graph.type(of: output).rank
    if logits != output, let reader, graph.type(of: logits).shape == graph.type(of: output).shape,
      let activation = try? Catalog.operation(of: reader) as? any ProbabilityActivation,
      let axis = activation.normalizedAxes(rank: rank).first
    {
      return axis
    }
    var kept = graph
    kept.outputs = [GraphOutput(name: "", value: output)]
    guard let head = try? Head(of: kept), let axes = try? ClassAxes(behind: head, in: kept),
      let axis = axes.axes[output]
    else { return 1 }
    return axis
  }

  /// The effect on probabilities of a node between the activation and the output.
  private enum Step {
    case nothing(ValueID)
    /// Scales or shifts by numbers of the file.
    case changes(ValueID)
    /// Limits to a range that holds nearly all probabilities, as Keras does.
    case limits(ValueID)
    case end
  }

  private static func activation(
    before output: ValueID, in graph: Graph
  ) throws -> (Activation, ValueID) {
    var value = output
    var changed: Opcode?
    var limited: Opcode?
    while let node = graph.producer(of: value), let x = node.operand(0) {
      let operation = try Catalog.operation(of: node)
      let maker = operation as? any ProbabilityActivation
      let found = maker.flatMap { maker in
        joinsAll(maker.normalizedAxes(rank: graph.type(of: x).rank), graph.type(of: x).shape)
          ? Activation(type(of: maker).probabilities) : nil
      }
      if let found {
        if let changed { return (.other(changed), output) }
        if let limited, found == .logSoftmax { return (.other(limited), output) }
        return (found, x)
      }
      switch try step(operation, node, in: graph) {
      case .nothing(let next): value = next
      case .changes(let next): (value, changed) = (next, changed ?? node.opcode)
      case .limits(let next): (value, limited) = (next, limited ?? node.opcode)
      case .end:
        // Sums, means and selections of logits are logits.
        let keepsScores = type(of: operation).keepsScores
        let hides = keepsScores && makesProbabilities(before: value, in: graph)
        let last = keepsScores && !hides ? limited : node.opcode
        return (last.map { .other($0) } ?? .none, output)
      }
    }
    return (limited.map { .other($0) } ?? .none, output)
  }

  /// Whether a value is computed from probabilities: there is an activation that computes them after the last
  /// weights.
  private static func makesProbabilities(before value: ValueID, in graph: Graph) -> Bool {
    var open: Set = [value]
    for node in graph.nodes.reversed() where node.results.contains(where: open.contains) {
      if Catalog.type(of: node.opcode) is any ProbabilityActivation.Type { return true }
      if !Head.hasWeights(node, in: graph) { open.formUnion(node.presentOperands) }
    }
    return false
  }

  /// Whether probabilities sum to 1 over all axes of an item with more than one element, or over one axis for
  /// each of several positions, or are independent.
  private static func joinsAll(_ axes: [Int], _ shape: TensorShape) -> Bool {
    axes.isEmpty || shape.rank >= 3 && axes.count == 1 && axes[0] > 0
      || (1..<max(1, shape.rank)).allSatisfy { axes.contains($0) || shape[$0] == 1 }
        && !axes.contains(0)
  }

  private static func step(
    _ operation: any Operator, _ node: Node, in graph: Graph
  ) throws -> Step {
    guard let x = node.operand(0) else { return .end }
    if operation.keepsValues { return graph.type(of: x).dtype.isFloatingPoint ? .nothing(x) : .end }
    switch operation {
    case let clip as Clip: return clip.low <= 1e-3 && clip.high >= 0.999 ? .limits(x) : .end
    case let binary as any BinaryElementwise:
      let operands = node.presentOperands
      guard operands.count == 2, operands.contains(where: { graph[$0].parameter != nil }),
        let place = operands.firstIndex(where: { graph[$0].parameter == nil }),
        type(of: binary).role(at: 1 - place) == .value
      else { return .end }
      let numbers = graph[operands[1 - place]].parameter?.data?.floats() ?? []
      let changesNothing = numbers.allSatisfy { number in
        guard let affine = type(of: binary).affine(with: Double(number), at: 1 - place) else {
          return false
        }
        return affine == (1, 0)
      }
      return !numbers.isEmpty && changesNothing
        ? .nothing(operands[place]) : .changes(operands[place])
    default: return .end
    }
  }
}

extension Ending.Activation {
  init(_ probabilities: Probabilities) {
    switch probabilities {
    case .softmax: self = .softmax
    case .logSoftmax: self = .logSoftmax
    case .sigmoid: self = .sigmoid
    }
  }
}

extension Graph {
  /// Appends nodes that convert an ending's logits to rows [batch, classes], or [batch, positions, classes]:
  /// for a single unit z the logits are 0 and z, because softmax([0, z])[1] = sigmoid(z).
  mutating func appendRows(of logits: ValueID, _ ending: Ending) throws -> ValueID {
    var value = logits
    let shape = type(of: value).shape
    if let axis = ending.classAxis, shape.rank > axis {
      let order = (0..<shape.rank).filter { $0 != axis } + [axis]
      if order != Array(0..<shape.rank) {
        value = try append(Transpose(permutation: order), [value])[0]
      }
      guard
        let positions = TensorShape(order.dropFirst().dropLast().map { shape[$0] }).elementCount
      else { throw GraftError(.unsupported, "an output \(shape)") }
      let rows = TensorShape([shape[0], positions, GraftIR.Dimension(ending.units)])
      value = try append(Reshape(shape: rows), [value])[0]
      return ending.isBinary ? try append(Pad(pads: [0, 0, 1, 0, 0, 0]), [value])[0] : value
    }
    if shape.rank != 2, shape.rank > 0, shape[0].isBatch,
      shape.dimensions.dropFirst().filter({ $0 != 1 }).count <= 1
    {
      let rows = TensorShape([shape[0], GraftIR.Dimension(ending.units)])
      value = try append(Reshape(shape: rows), [value])[0]
    }
    guard ending.isBinary, type(of: value).rank == 2 else { return value }
    return try append(Pad(pads: [0, 1, 0, 0]), [value])[0]
  }
}
