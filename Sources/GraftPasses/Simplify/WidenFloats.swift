// Networks written in float16 or bfloat16, brought to the one type that kernels compute in.

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
/// It leaves a graph whose inputs or outputs are narrow: callers pass those.
public struct WidenFloats: Pass {
  public static let name = "widen-floats"
  public static let summary = "float16 and bfloat16 values as float32"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    let narrow = Self.valuesToWiden(graph)
    guard !narrow.isEmpty else { return }
    for value in graph.inputs + graph.outputs.map(\.value) {
      let type = graph.type(of: value)
      guard !type.dtype.isNarrow else {
        context.left(
          "values of \(type.dtype.rawValue)",
          because: "an input or output of the network is \(type)")
        return
      }
    }
    for value in narrow { try widen(value, &graph) }
    for id in graph.nodeIDs { try rewrite(graph[id], &graph) }
    context.did("computes \(narrow.count) values of float16 or bfloat16 in float32")
  }

  /// All results, and the parameters that some other node than a cast reads: casts of parameters fold.
  private static func valuesToWiden(_ graph: Graph) -> [ValueID] {
    var found: [ValueID] = []
    var seen = Set<ValueID>()
    for node in graph.nodes {
      let operands = node.opcode == Cast.opcode ? [] : node.presentOperands
      for value in operands.filter({ graph[$0].parameter != nil }) + node.results
      where graph.type(of: value).dtype.isNarrow && seen.insert(value).inserted {
        found.append(value)
      }
    }
    return found
  }

  /// Makes of a node that names a narrow type one that does not, once the values are float32.
  private func rewrite(_ node: Node, _ graph: inout Graph) throws {
    switch try Catalogue.operation(of: node) {
    case let cast as Cast:
      guard let x = node.operand(0) else { return }
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
