// The weights and bias of a convolution or a gemm as float64 arrays, while passes fold scales into them.

import GraftDiagnostics
import GraftIR
import GraftOps

/// An operator into whose weights per-channel factors can be folded.
protocol LinearOperator: ActivationFusing {
  /// The weights and bias of its node; nil unless they are constants.
  func linearWeights(
    of node: Node, in graph: Graph, _ context: PassContext
  ) throws -> LinearWeights?
  /// The operator after its factors have been folded into the weights.
  var withFactorsFolded: Self { get }
}

extension Convolution: LinearOperator {
  func linearWeights(
    of node: Node, in graph: Graph, _ context: PassContext
  ) throws -> LinearWeights? { try LinearWeights(convolution: node, in: graph, context) }
  var withFactorsFolded: Convolution { self }
}

extension TransposedConvolution: LinearOperator {
  func linearWeights(
    of node: Node, in graph: Graph, _ context: PassContext
  ) throws -> LinearWeights? { try LinearWeights(transposed: node, self, in: graph, context) }
  var withFactorsFolded: TransposedConvolution { self }
}

extension Gemm: LinearOperator {
  func linearWeights(
    of node: Node, in graph: Graph, _ context: PassContext
  ) throws -> LinearWeights? { try LinearWeights(gemm: node, self, in: graph, context) }
  var withFactorsFolded: Gemm { Gemm(transposesA: transposesA, transposesB: transposesB) }
}

/// Weights with one stretch of elements for each output and each input channel.
struct LinearWeights {
  /// The original weights, unless they have been scaled.
  private var original: ValueID?
  /// The parameters' names, for derived parameters.
  private let weightName: String
  private let biasName: String
  private let shape: [Int]
  private var weights: [Double]
  private var bias: [Double]
  /// The output channel of a weight by its position.
  private let output: (Int) -> Int
  /// The input channel of a weight by its position, counted over all groups.
  private let input: (Int) -> Int

  /// - Returns: nil unless weights and bias are constants.
  init?(convolution node: Node, in graph: Graph, _ context: PassContext) throws {
    guard let groups = try graph.operation(node, as: Convolution.self)?.groups,
      let extents = node.operand(1).flatMap({ graph.type(of: $0).shape.constants }),
      extents.count == 4
    else { return nil }
    let taps = extents[2] * extents[3]
    let groupChannels = extents[1]
    let outputsPerGroup = max(1, extents[0] / groups)
    try self.init(
      kernels: node, outputs: extents[0], in: graph, context,
      output: { $0 / (taps * groupChannels) },
      input: { position in
        let group = position / (taps * groupChannels) / outputsPerGroup
        return group * groupChannels + position / taps % groupChannels
      })
  }

  /// The same of a transposed convolution, whose weights have inputs before outputs.
  init?(
    transposed node: Node, _ operation: TransposedConvolution, in graph: Graph,
    _ context: PassContext
  ) throws {
    guard let extents = node.operand(1).flatMap({ graph.type(of: $0).shape.constants }),
      extents.count == 4
    else { return nil }
    let taps = extents[2] * extents[3]
    let groupOutputs = extents[1]
    let channelsPerGroup = max(1, extents[0] / operation.groups)
    try self.init(
      kernels: node, outputs: groupOutputs * operation.groups, in: graph, context,
      output: { position in
        let group = position / (taps * groupOutputs) / channelsPerGroup
        return group * groupOutputs + position / taps % groupOutputs
      }, input: { $0 / (taps * groupOutputs) })
  }

  /// - Parameters:
  ///   - output: the output channel of a weight by its position.
  ///   - input: its input channel.
  private init?(
    kernels node: Node, outputs: Int, in graph: Graph, _ context: PassContext,
    output: @escaping (Int) -> Int, input: @escaping (Int) -> Int
  ) throws {
    guard let w = node.operand(1), context.isConstant(w, in: graph),
      let data = graph[w].parameter?.data, data.elementCount > 0,
      let bias = try Self.bias(node.operand(2), count: outputs, graph, context)
    else { return nil }
    self.bias = bias
    original = w
    weightName = graph.name(w)
    biasName = node.operand(2).map(graph.name) ?? Self.biasName(weightName)
    shape = data.shape
    weights = data.doubles()
    self.output = output
    self.input = input
  }

  /// alpha and beta go into the weights and the bias.
  /// - Returns: nil unless B and C are constants and C is the same in every row.
  init?(gemm node: Node, _ operation: Gemm, in graph: Graph, _ context: PassContext) throws {
    guard let b = node.operand(1), context.isConstant(b, in: graph),
      let data = graph[b].parameter?.data, data.shape.count == 2, data.elementCount > 0
    else { return nil }
    let columns = data.shape[operation.transposesB ? 0 : 1]
    let width = data.shape[1]
    guard let bias = try Self.bias(node.operand(2), count: columns, graph, context) else {
      return nil
    }
    self.bias = bias.map { $0 * operation.beta }
    original = operation.alpha == 1 ? b : nil
    weightName = graph.name(b)
    biasName = node.operand(2).map(graph.name) ?? Self.biasName(weightName)
    shape = data.shape
    weights = data.doubles().map { $0 * operation.alpha }
    let isTransposed = operation.transposesB
    output = { isTransposed ? $0 / width : $0 % width }
    input = { isTransposed ? $0 % width : $0 / width }
  }

  /// The name that exporters would give the bias beside these weights.
  private static func biasName(_ weights: String) -> String {
    weights.hasSuffix("weight") ? "\(weights.dropLast(6))bias" : "\(weights).bias"
  }

  private static func bias(
    _ value: ValueID?, count: Int, _ graph: Graph, _ context: PassContext
  ) throws -> [Double]? {
    guard let value else { return Array(repeating: 0, count: count) }
    guard context.isConstant(value, in: graph), let data = graph[value].parameter?.data,
      data.shape.dropLast().allSatisfy({ $0 == 1 })
    else { return nil }
    let elements = data.doubles()
    if elements.count == count { return elements }
    return elements.count == 1 ? Array(repeating: elements[0], count: count) : nil
  }

  /// The weights of x ↦ linear(x) · scale + shift, a number for each output.
  func scaled(by scale: [Double], shift: [Double]) -> LinearWeights {
    var result = self
    if !scale.allSatisfy({ $0 == 1 }) { result.original = nil }
    for position in weights.indices { result.weights[position] *= scale[output(position)] }
    for index in bias.indices { result.bias[index] = bias[index] * scale[index] + shift[index] }
    return result
  }

  /// The weights of x ↦ linear(x · scale + shift), a number for each input channel.
  func reading(_ scale: [Double], shift: [Double]) -> LinearWeights {
    var result = self
    if !scale.allSatisfy({ $0 == 1 }) { result.original = nil }
    for position in weights.indices {
      result.bias[output(position)] += weights[position] * shift[input(position)]
      result.weights[position] *= scale[input(position)]
    }
    return result
  }

  /// Adds both as parameters; weights that were not scaled keep their parameter.
  /// - Returns: nil if an element is not finite in float32.
  func add(
    to graph: inout Graph, _ derivation: String
  ) throws -> (weights: ValueID, bias: ValueID)? {
    guard
      let bias = try graph.addDerived(
        "\(biasName).folded", bias, shape: [bias.count], derivation: derivation)
    else { return nil }
    if let original { return (original, bias) }
    guard
      let weights = try graph.addDerived(
        "\(weightName).folded", weights, shape: shape, derivation: derivation)
    else {
      graph.removeParameter(bias)
      return nil
    }
    return (weights, bias)
  }
}
