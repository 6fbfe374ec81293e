// Folds explicit padding into the next window operator.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A Pad of height and width with zeros becomes pads of the convolution or average pool that reads it; with
/// −∞, or with zeros around values that are not negative, pads of a max pool.
///
/// ```
/// %2 = pad(%0) {pads=[0, 0, 1, 1, 0, 0, 1, 1]} : f32[N,8,10,10] from "pad"
/// %3 = convolution(%2, %1) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,8,8,8] from "conv"
/// ```
/// becomes
/// ```
/// %2 = convolution(%0, %1) {strides=[1, 1], pads=[1, 1, 1, 1]} : f32[N,8,8,8] from "pad", "conv"
/// ```
/// An average pool then counts its padding, because the zeros were ordinary elements.
public struct FoldPadding: Pass {
  public static let name = "fold-padding"
  public static let summary = "folds explicit padding into the next convolution or pool"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs where graph.contains(id) {
      let node = graph[id]
      guard let pad = try graph.producer(of: node.operand(0), as: Pad.self),
        let x = pad.node.operand(0), node.results.count == 1
      else { continue }
      guard let window = try Catalog.operation(of: node) as? any PaddingFolding else { continue }
      let what = "\(graph.title(pad.node)) before \(graph.title(node))"
      guard let added = spatialPads(pad.operation) else {
        context.left(what, because: "it pads axes other than height and width")
        continue
      }
      let operands = [x] + node.operands.dropFirst()
      let type = graph.type(of: node.results[0])
      guard
        let folded = window.folding(
          pads: added, of: pad.operation.value.real, isNonNegative: try isNonNegative(x, graph)),
        // With ceil_mode, another window may fit if the end is padding instead of image.
        let inferred = try? Catalog.inferTypes(
          folded, operands.map { $0.map { graph.type(of: $0) } }), inferred == [type]
      else {
        context.left(what, because: "its windows would read other values")
        continue
      }
      context.did("folded \(graph.title(pad.node)) into \(graph.title(node))")
      try graph.replace(node, with: folded, operands, absorbing: [pad.node])
    }
  }

  /// [top, left, bottom, right] if nothing else is padded.
  private func spatialPads(_ pad: Pad) -> [Int]? {
    guard pad.mode == .constant, pad.pads.count == 8, pad.pads.allSatisfy({ $0 >= 0 }),
      [0, 1, 4, 5].allSatisfy({ pad.pads[$0] == 0 })
    else { return nil }
    return [pad.pads[2], pad.pads[3], pad.pads[6], pad.pads[7]]
  }

  private func isNonNegative(_ value: ValueID, _ graph: Graph) throws -> Bool {
    guard let producer = graph.producer(of: value) else { return false }
    let operation = try Catalog.operation(of: producer)
    let activation =
      (operation as? any ActivationFusing)?.activation
      ?? (operation as? any UnaryElementwise)?.fusedActivation
    return activation?.function?.isNonNegative ?? false
  }
}
