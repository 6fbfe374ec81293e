// Widens networks in float16 or bfloat16 to float32, in which kernels compute.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Values of float16 and bfloat16 become float32. A cast to one of them rounds, a cast back does
/// nothing; between the two, results are not rounded, which is closer to the real network.
///
/// ```
/// %2 = cast(%0) {dtype=type f16} : f16[N,4] from "narrow"
/// %3 = gemm(%2, %1) : f16[N,4] from "fc"
/// %4 = cast(%3) {dtype=type f32} : f32[N,4] from "widen"
/// ```
/// becomes
/// ```
/// %2 = round_to(%0) {dtype=type f16} : f32[N,4] from "narrow"
/// %3 = gemm(%2, %1) : f32[N,4] from "fc", "widen"
/// ```
/// Inputs and outputs keep their types for callers: a cast follows a narrow input and precedes a narrow
/// output.
public struct WidenFloats: Pass {
  public static let name = "widen-floats"
  public static let summary = "widens float16 and bfloat16 values to float32"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    let outputTypes = graph.outputs.map { graph.type(of: $0.value).dtype }
    let narrow = Self.valuesToWiden(graph)
    let inputs = graph.inputs.filter { Self.isComputedWith($0, graph) }
    guard !narrow.isEmpty || !inputs.isEmpty else { return }
    for input in inputs { try widenReads(of: input, &graph) }
    for value in narrow { try widen(value, &graph) }
    for id in graph.nodeIDs { try rewrite(graph[id], &graph) }
    for (index, dtype) in outputTypes.enumerated() {
      let value = graph.outputs[index].value
      guard dtype.isNarrow, graph.type(of: value).dtype == .float32 else { continue }
      graph.outputs[index].value = try graph.append(
        Cast(to: dtype), [value], origins: graph.producer(of: value)?.origins ?? [])[0]
    }
    context.did(
      "computes \(narrow.count + inputs.count) values of float16 or bfloat16 in float32")
  }

  /// All results except casts for outputs, and parameters with a reader other than a cast; casts of
  /// parameters are folded.
  private static func valuesToWiden(_ graph: Graph) -> [ValueID] {
    var found: [ValueID] = []
    var seen = Set<ValueID>()
    for node in graph.nodes {
      let isCast = node.opcode == Cast.opcode
      let operands = isCast ? [] : node.presentOperands.filter { graph[$0].parameter != nil }
      let results = node.results.filter { !isCast || !graph.readers(of: $0).isEmpty }
      for value in operands + results
      where graph.type(of: value).dtype.isNarrow && seen.insert(value).inserted {
        found.append(value)
      }
    }
    return found
  }

  /// Whether an input is narrow and has a reader other than a cast.
  private static func isComputedWith(_ input: ValueID, _ graph: Graph) -> Bool {
    graph.type(of: input).dtype.isNarrow
      && graph.readers(of: input).contains { graph[$0].opcode != Cast.opcode }
  }

  /// Lets all readers of an input read it as float32.
  private func widenReads(of input: ValueID, _ graph: inout Graph) throws {
    let readers = Set(graph.readers(of: input))
    let wide = try graph.append(
      Cast(to: .float32), [input], origins: [graph[input].name ?? ""],
      before: graph.nodeIDs.first)[0]
    for id in readers {
      graph[id].operands = graph[id].operands.map { $0 == input ? wide : $0 }
    }
  }

  /// Replaces a node that refers to a narrow type, after the values are float32.
  private func rewrite(_ node: Node, _ graph: inout Graph) throws {
    switch try Catalog.operation(of: node) {
    case let cast as Cast:
      guard let x = node.operand(0), !graph.type(of: node.results[0]).dtype.isNarrow else { return }
      let isWide = graph.type(of: x).dtype == .float32
      if let rounding = RoundTo(cast.dtype) {
        let source =
          isWide ? x : try graph.append(Cast(to: .float32), [x], before: node.id)[0]
        try graph.replace(node, with: rounding, [source])
      } else if cast.dtype == .float32, isWide {
        graph.bypass(node, with: x)
      }
    case var constant as ConstantOfShape where constant.dtype.isNarrow:
      constant.dtype = .float32
      try graph.replace(node, with: constant, [])
    default: break
    }
  }

  private func widen(_ id: ValueID, _ graph: inout Graph) throws {
    graph[id].type.dtype = .float32
    guard var parameter = graph[id].parameter else { return }
    if let data = parameter.data {
      parameter.data = try TensorData(data.floats(), shape: data.shape)
    }
    graph[id].definition = .parameter(parameter)
  }
}
