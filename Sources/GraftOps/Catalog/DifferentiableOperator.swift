// The gradient rule of an operator, which builds IR. GraftAutodiff decides which gradients are needed and
// accumulates those of several readers.

import GraftDiagnostics
import GraftIR

/// An operator through which gradients flow.
///
/// Operators without a rule are not differentiable (comparisons, shape arithmetic), or are created only by
/// passes or by training.
public protocol DifferentiableOperator: Operator {
  /// Builds the gradients of those operands that ``GradientBuilder/wants(_:)``.
  /// - Throws: ``GraftError`` of kind `unsupported` if this node's attributes or types have no rule.
  func buildGradient(_ builder: inout GradientBuilder) throws
}

/// The builder of a gradient rule: a node of the forward graph, the gradients of its results, and the graph
/// to which the rule appends.
public struct GradientBuilder {
  public private(set) var graph: Graph
  public let node: Node
  private let resultGradients: [ValueID?]
  private let wanted: Set<ValueID>
  /// The gradient that the rule gave for each operand, by position.
  public private(set) var gradients: [ValueID?]

  private init(node: Node, resultGradients: [ValueID?], wanted: Set<ValueID>) {
    graph = Graph(name: "")
    self.node = node
    self.resultGradients = resultGradients
    self.wanted = wanted
    gradients = Array(repeating: nil, count: node.operands.count)
  }

  /// Appends to `graph` what the rule of `node` builds.
  /// - Parameters:
  ///   - resultGradients: for each result of `node` its gradient, nil if it is zero.
  ///   - wanted: the values whose gradients are needed.
  /// - Returns: the gradient of each operand, nil if it is zero or not wanted.
  /// - Throws: ``GraftError`` of kind `unsupported` that names the node, where it has no rule.
  public static func gradients(
    of node: Node, in graph: inout Graph, resultGradients: [ValueID?], wanted: Set<ValueID>
  ) throws -> [ValueID?] {
    try at(graph.location(of: node)) {
      guard let operation = try Catalog.operation(of: node) as? any DifferentiableOperator else {
        throw GraftError(.unsupported, "\(node.opcode) has no gradient")
      }
      var builder = GradientBuilder(
        node: node, resultGradients: resultGradients, wanted: wanted)
      // The builder owns the graph during the call, so that appending does not copy it.
      swap(&builder.graph, &graph)
      defer { swap(&builder.graph, &graph) }
      try operation.buildGradient(&builder)
      return builder.gradients
    }
  }

  /// Whether the gradient of operand `index` is needed.
  public func wants(_ index: Int) -> Bool { node.operand(index).map(wanted.contains) ?? false }

  /// Operand `index`.
  /// - Throws: ``GraftError`` if it is absent.
  public func operand(_ index: Int) throws -> ValueID {
    guard let value = node.operand(index) else {
      throw GraftError(.invalidGraph, "operand \(index) is missing")
    }
    return value
  }

  public func result(_ index: Int = 0) -> ValueID { node.results[index] }

  public func type(of value: ValueID) -> TensorType { graph.type(of: value) }

  public func shape(of value: ValueID) -> TensorShape { graph.type(of: value).shape }

  /// The gradient of result `index`; nil if it is zero.
  public func gradient(ofResult index: Int) -> ValueID? { resultGradients[index] }

  /// The gradient of the only result. Rules run only where some result has a gradient.
  /// - Throws: ``GraftError`` of kind `inconsistency` if it has none.
  public func incoming() throws -> ValueID {
    guard let gradient = resultGradients.first ?? nil else {
      throw GraftError(.inconsistency, "the result has no gradient")
    }
    return gradient
  }

  /// The gradient of the only result before a fused activation.
  public mutating func incoming(through activation: Activation) throws -> ValueID {
    let gradient = try incoming()
    guard activation != .none else { return gradient }
    guard activation.gradientReadsResult else {
      throw GraftError(.unsupported, "the argument of a fused activation is not available")
    }
    return try apply(ActivationGradient(activation: activation), [gradient, result()])
  }

  /// Appends a node.
  /// - Returns: its first result.
  public mutating func apply(
    _ operation: any Operator, _ operands: [ValueID?]
  ) throws -> ValueID { try applyAll(operation, operands)[0] }

  /// Appends a node.
  /// - Returns: all of its results.
  public mutating func applyAll(
    _ operation: any Operator, _ operands: [ValueID?]
  ) throws -> [ValueID] {
    try graph.append(operation, operands, origins: node.origins)
  }

  /// A constant scalar of the element type of `value`.
  public mutating func scalar(_ number: Double, like value: ValueID) throws -> ValueID {
    try constant([number], shape: [], like: value)
  }

  /// A constant tensor of the element type of `value`.
  public mutating func constant(
    _ elements: [Double], shape: [Int], like value: ValueID
  ) throws -> ValueID {
    let type = TensorType(.float32, TensorShape(shape))
    guard graph.type(of: value).dtype == .float32 else {
      throw GraftError(.unsupported, "training computes in float32, found \(graph.type(of: value))")
    }
    return graph.addParameter(
      graph.unusedName("gradient.constant"), type,
      Parameter(
        derivation: "constant of a gradient",
        data: try TensorData(elements.map(Float.init), shape: shape)))
  }

  /// `value` times a number.
  public mutating func scaled(_ value: ValueID, by number: Double) throws -> ValueID {
    guard number != 1 else { return value }
    return try apply(Multiply(), [value, try scalar(number, like: value)])
  }

  /// `value` reshaped.
  public mutating func reshaped(_ value: ValueID, to shape: TensorShape) throws -> ValueID {
    self.shape(of: value) == shape ? value : try apply(Reshape(shape: shape), [value])
  }

  /// The transpose of a gather along an axis (scatter-add): element i of `value` is added to element
  /// `targets[i]` of a tensor with `extent` elements on the axis; elements without a target are dropped. A
  /// product with a matrix of zeros and ones.
  public mutating func scattered(
    _ value: ValueID, along axis: Int, to targets: [Int?], of extent: Int
  ) throws -> ValueID {
    guard !targets.isEmpty, extent > 0 else {
      throw GraftError(.unsupported, "the gradient of an axis without elements")
    }
    var matrix = [Double](repeating: 0, count: targets.count * extent)
    for (index, target) in targets.enumerated() {
      if let target { matrix[index * extent + target] = 1 }
    }
    let choice = try constant(matrix, shape: [targets.count, extent], like: value)
    let rank = shape(of: value).rank
    var order = Array(0..<rank)
    order.swapAt(axis, rank - 1)
    let turn = Transpose(permutation: order)
    let turned = axis == rank - 1 ? value : try apply(turn, [value])
    // All axes before `axis` are the rows of one matrix.
    let full = shape(of: turned)
    guard let rows = TensorShape(Array(full.dimensions.dropLast())).elementCount else {
      throw GraftError(.unsupported, "the number of rows of \(full) is not known")
    }
    let table = try reshaped(turned, to: [rows, Dimension(targets.count)])
    let product = try apply(MatrixMultiply(), [table, choice])
    let result = try reshaped(
      product, to: TensorShape(full.dimensions.dropLast() + [Dimension(extent)]))
    return axis == rank - 1 ? result : try apply(turn, [result])
  }

  /// Sets the gradient of operand `index`, which must have its shape.
  public mutating func setGradient(of index: Int, _ value: ValueID) throws {
    let operand = try operand(index)
    guard shape(of: value) == shape(of: operand) else {
      throw GraftError(
        .inconsistency,
        "the gradient of \(type(of: operand)) has the type \(type(of: value))")
    }
    gradients[index] = value
  }

  /// Sets the gradient of operand `index`, which was broadcast to the shape of `value`: the sum over the
  /// broadcast axes.
  public mutating func setGradient(of index: Int, summing value: ValueID) throws {
    let target = shape(of: try operand(index))
    let from = shape(of: value)
    guard from != target else { return try setGradient(of: index, value) }
    let missing = from.rank - target.rank
    let axes = (0..<from.rank).filter { axis in
      axis < missing || (target[axis - missing] == 1 && from[axis] != 1)
    }
    var sum = value
    if axes == [2, 3], from.rank == 4, let height = from[2].constant, let width = from[3].constant {
      // The mean has a kernel for blocked images.
      sum = try scaled(try apply(GlobalAveragePool(), [value]), by: Double(height * width))
    } else if !axes.isEmpty {
      sum = try apply(ReduceSum(axes: axes), [value])
    }
    try setGradient(of: index, try reshaped(sum, to: target))
  }
}
