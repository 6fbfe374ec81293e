// Makes a network that a file says is quantized one of real numbers, which can train.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Weights become the real numbers for which they are stored, and values are no longer rounded to steps between
/// operators.
///
/// ```
/// %3 = quantize(%0) {scale=0.02, zero=114} : u8[N,8,8,8]
/// %4 = dequantize(%3) {scale=0.02, zero=114} : f32[N,8,8,8]
/// %5 = dequantize_weights(%1, %2) : f32[8,8,3,3]
/// %6 = convolution(%4, %5) {strides=[1, 1], pads=[1, 1, 1, 1]} : f32[N,8,8,8]
/// ```
/// becomes
/// ```
/// %6 = convolution(%0, %5) {strides=[1, 1], pads=[1, 1, 1, 1]} : f32[N,8,8,8]
/// ```
/// Conversions with bytes as inputs or outputs of the network, or with other operators between them, stay.
public struct DropQuantization: Pass {
  public static let name = "drop-quantization"
  public static let summary = "makes quantized networks ones of real numbers"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs where graph.contains(id) {
      let node = graph[id]
      if try Catalog.operation(of: node) is any StorageOperator,
        node.presentOperands.allSatisfy({ graph[$0].parameter?.data != nil })
      {
        try graph.replaceByConstants(
          node, named: graph.name(try node.requiredOperand(0)),
          derivation: "folded \(node.opcode) \(graph.title(node))")
        context.did("computed \(graph.title(node))")
      } else if let last = try graph.operation(node, as: Dequantize.self),
        let first = try graph.producer(of: node.operand(0), as: Quantize.self),
        first.operation.to == last.from, first.operation.isSigned == last.isSigned,
        let x = first.node.operand(0),
        graph.producer(of: x) != nil || !graph.isOutput(node.results[0])
      {
        context.did("removed the rounding of \(graph.title(first.node))")
        graph.bypass(node, with: x)
        graph.removeUnread([first.node])
      }
    }
    graph.removeDeadCode()
  }
}
