// What a node costs in either layout and what a conversion costs: estimates in vector operations, good
// enough to tell a region that is worth converting from one that is not.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The facts about one graph and one vector width that the layout pass decides by.
struct LayoutCosts {
  let graph: Graph
  /// Channels in a block.
  let block: Int

  /// Up to this many channels an image that a convolution reads stays planar: a block would be mostly
  /// padding.
  static let fewChannels = 4

  /// Whether a value can lie in blocks of channels at all.
  func isImage(_ value: ValueID) -> Bool {
    let type = graph.type(of: value)
    return type.rank == 4 && type.dtype == .float32 && type.shape[0].coefficient > 0
      && type.shape.dimensions.dropFirst().allSatisfy { ($0.constant ?? 0) > 0 }
      && graph[value].parameter == nil
  }

  /// Whether the convolution `node`, or the one whose weights' gradient it computes, reads its image
  /// plane by plane.
  func readsPlanes(_ node: Node, _ operation: any Operator) -> Bool {
    guard (operation as? any GroupedConvolution)?.groups == 1, let x = node.operand(0) else {
      return false
    }
    return (graph.type(of: x).shape[1].constant ?? Int.max) <= Self.fewChannels
  }

  /// Whether the operand at `position` holds weights, or a number for each channel: no image, whatever its
  /// rank.
  func isWeight(_ position: Int, of operation: any Operator) -> Bool {
    [.weight, .scale].contains(type(of: operation).role(at: position))
  }

  /// The images that a node reads.
  func images(of node: Node, _ operation: any Operator) -> [ValueID] {
    node.operands.enumerated().compactMap { position, operand in
      operand.flatMap { isImage($0) && !isWeight(position, of: operation) ? $0 : nil }
    }
  }

  /// Whether a node may read blocks, but makes plain results.
  func reduces(_ node: Node, _ operation: any Operator) -> Bool {
    operation.layoutSupport(
      operands: graph.operandTypes(of: node), results: graph.resultTypes(of: node)) == .reducing
  }

  /// Why a node cannot work on blocks; nil where it can.
  func obstacle(_ node: Node, _ operation: any Operator) -> String? {
    let support = operation.layoutSupport(
      operands: graph.operandTypes(of: node), results: graph.resultTypes(of: node))
    let takesBlocks =
      support == .blocked
      ? !node.results.isEmpty && node.results.allSatisfy(isImage)
      : support == .reducing && node.operand(0).map(isImage) ?? false
    guard takesBlocks else { return "its kernels work on plain tensors" }
    for (index, operand) in node.operands.enumerated() {
      guard let operand, graph.type(of: operand).rank == 4 else { continue }
      if isWeight(index, of: operation) { continue }
      guard isImage(operand) else { return "it reads a constant image" }
      if operation is any BinaryElementwise,
        graph.type(of: operand).shape[0] != graph.type(of: node.results[0]).shape[0]
      {
        return "an operand is repeated for every image"
      }
    }
    return nil
  }

  /// How much more a grouped convolution on blocks multiplies than it has to: for a block of outputs
  /// it goes through all blocks of inputs that their groups touch.
  private func excess(_ node: Node, _ convolution: Convolution) -> Int {
    guard convolution.groups > 1, let x = node.operand(0), let y = node.results.first,
      let channels = graph.type(of: x).shape[1].constant,
      let outputs = graph.type(of: y).shape[1].constant,
      channels != convolution.groups || outputs != channels
    else { return 1 }
    let inputs = max(1, channels / convolution.groups)
    let touched = max(1, block / max(1, outputs / convolution.groups)) * inputs
    return max(1, (touched + block - 1) / block * block / inputs)
  }

  /// Enough for any network; estimates that are summed must not overflow.
  private static let mostWork = 1 << 42

  private func work(_ node: Node, _ operation: any Operator) -> Int {
    let cost = operation.cost(
      operands: graph.operandTypes(of: node), results: graph.resultTypes(of: node))
    return min(cost.multiplyAdds, Self.mostWork)
  }

  /// Vector operations of a node on blocks, and on plain tensors.
  func cost(_ node: Node, _ operation: any Operator) -> (blocked: Int, plain: Int) {
    let values =
      images(of: node, operation)
      + (reduces(node, operation) ? [] : node.results.filter(isImage))
    let blocked = values.reduce(0) { $0 + elements($1, blocked: true) } / block
    let plain = values.reduce(0) { $0 + elements($1, blocked: false) } / block
    switch operation {
    case is Convolution, is ConvolutionWeightGradient:
      let zeros = (operation as? Convolution).map { excess(node, $0) } ?? 1
      let work = work(node, operation)
      let padding = values.reduce(1.0) { largest, value in
        max(
          largest, Double(elements(value, blocked: true)) / Double(elements(value, blocked: false)))
      }
      // The kernel for plain tensors loads for every multiplication, and reaches about an eighth of
      // the speed on blocks.
      let done = Double(work) * padding * Double(zeros)
      return (blocked + Int(done) / block, plain + work)
    case is any Pooling:
      // Windows of a plain row do not start at multiples of a vector.
      let work = work(node, operation)
      return (blocked + work / block, plain + work)
    default: return (blocked, plain)
    }
  }

  /// Vector operations of converting a value between its plain and its blocked layout.
  func conversion(_ value: ValueID) -> Int {
    let type = graph.type(of: value)
    guard
      type.shape[2] != 1 || type.shape[3] != 1
        || !(type.shape[1].constant ?? 1).isMultiple(of: block)
    else { return 0 }
    // Half of its loads or stores are strided.
    return 2 * (elements(value, blocked: true) + elements(value, blocked: false)) / block + 1
  }

  private func elements(_ value: ValueID, blocked: Bool) -> Int {
    var type = graph.type(of: value)
    type.layout = blocked ? .blocked(block) : .plain
    return (type.storedByteCount?.coefficient ?? 0) / type.dtype.byteCount
  }
}
