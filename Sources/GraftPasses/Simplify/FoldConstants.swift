// Computes while compiling what depends on parameters alone.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A node all of whose operands are constants becomes a parameter, evaluated by the operator's reference
/// function in float64 and rounded once.
///
/// ```
/// %1 "w" = parameter : f32[8,4]
/// %2 = transpose(%1) {permutation=[1, 0]} : f32[4,8] from "transpose"
/// ```
/// becomes
/// ```
/// %1 "w.folded" = parameter {derivation="folded transpose \"transpose\""} : f32[4,8]
/// ```
/// It leaves results that are outputs, and results much larger than their operands, which would make a
/// small model a large one.
public struct FoldConstants: Pass {
  public static let name = "fold-constants"
  public static let summary = "what depends on parameters alone, computed while compiling"
  public static let modes: Set<PassMode> = [.inference, .training]

  /// Results up to this size may be larger than all operands together.
  static let alwaysAllowedBytes = 1 << 16

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs {
      let node = graph[id]
      let operands = node.presentOperands
      guard !operands.isEmpty, node.results.count == 1,
        operands.allSatisfy({ context.isConstant($0, in: graph) })
      else { continue }
      let result = node.results[0]
      let type = graph.type(of: result)
      if let reason = obstacle(result, type, operands, graph) {
        context.left(graph.title(node), because: reason)
        continue
      }
      let operation = try Catalogue.operation(of: node)
      let extents = try type.shape.extents(batch: 1)
      let values = try node.operands.map { operand in
        try operand.flatMap { graph[$0].parameter?.data }.map {
          try HostTensor($0, precision: .double)
        }
      }
      let evaluated = try at(
        SourceLocation(node: node.origins.first, operatorName: node.opcode.rawValue)
      ) { try operation.evaluate(values, extents: [extents]) }
      let name = graph[result].name ?? "\(graph.name(operands[0])).folded"
      guard let elements = evaluated.first?.doubles, elements.count == extents.reduce(1, *),
        let folded = try graph.addDerived(
          name, elements, shape: extents,
          derivation: "folded \(node.opcode) \(graph.title(node))")
      else {
        context.left(graph.title(node), because: "its result is not finite")
        continue
      }
      context.did("computed \(graph.title(node))")
      graph.replaceUses(of: result, with: folded)
      graph.remove(id)
    }
  }

  private func obstacle(
    _ result: ValueID, _ type: TensorType, _ operands: [ValueID], _ graph: Graph
  ) -> String? {
    if graph.isOutput(result) { return "its result is an output of the network" }
    guard type.dtype == .float32, !type.shape.dependsOnBatch else {
      return "its result is \(type), only constant float32 tensors are computed"
    }
    let bytes = type.storedByteCount?.coefficient ?? Int.max
    let given = operands.reduce(0) { $0 + (graph.type(of: $1).storedByteCount?.coefficient ?? 0) }
    return bytes > max(given, Self.alwaysAllowedBytes)
      ? "its result would be \(bytes) bytes, made of \(given)" : nil
  }
}
