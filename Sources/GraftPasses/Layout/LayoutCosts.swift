// Which nodes support blocked layouts, and their costs on either layout by the kernels' cost model.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The properties of a graph on which the layout pass decides.
struct LayoutCosts {
  let graph: Graph
  /// Channels in a block.
  let block: Int

  /// An input image of a convolution with at most this many channels is not blocked, because a block would be
  /// mostly padding.
  static let fewChannels = Layout.fewChannels

  /// Whether a value can have a blocked layout.
  func isImage(_ value: ValueID) -> Bool {
    let type = graph.type(of: value)
    return type.rank == 4 && [.float32, .uint8].contains(type.dtype)
      && type.shape[0].coefficient > 0
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

  /// The block of an image that is read plane by plane: bytes lie in pixels of four channels.
  func planeBlock(_ value: ValueID) -> Int {
    graph.type(of: value).dtype == .uint8 ? Layout.fewChannels : 1
  }

  /// Whether the operand at `position` is weights or a per-channel vector, not an image, regardless of its
  /// rank.
  func isWeight(_ position: Int, of operation: any Operator) -> Bool {
    [.weight, .scale].contains(type(of: operation).role(at: position))
  }

  /// The images that a node reads, in blocks where it runs on them unless it ``spreads(_:_:)``.
  func images(of node: Node, _ operation: any Operator) -> [ValueID] {
    node.operands.enumerated().compactMap { position, operand in
      operand.flatMap { isImage($0) && !isWeight(position, of: operation) ? $0 : nil }
    }
  }

  /// Whether a node can read blocks, but has plain results.
  func reduces(_ node: Node, _ operation: any Operator) -> Bool {
    support(node, operation) == .reducing
  }

  /// Whether a node reads plain images, but can have results in blocks.
  func spreads(_ node: Node, _ operation: any Operator) -> Bool {
    support(node, operation) == .spreading
  }

  private func support(_ node: Node, _ operation: any Operator) -> LayoutSupport {
    operation.layoutSupport(
      operands: graph.operandTypes(of: node), results: graph.resultTypes(of: node))
  }

  /// Why a node does not support blocks; nil if it does.
  func obstacle(_ node: Node, _ operation: any Operator) -> String? {
    let hasImages = !node.results.isEmpty && node.results.allSatisfy(isImage)
    let takesBlocks =
      switch support(node, operation) {
      case .blocked, .spreading: hasImages
      case .reducing: node.operand(0).map(isImage) ?? false
      case .plain, .conversion: false
      }
    guard takesBlocks else { return "its kernels support only plain layouts" }
    let images = node.presentOperands + node.results
    if !operation.takesBlocksOfBytes,
      images.contains(where: { isImage($0) && graph.type(of: $0).dtype == .uint8 })
    {
      return "its kernels take bytes in plain layouts only"
    }
    if spreads(node, operation) { return nil }
    for (index, operand) in node.operands.enumerated() {
      guard let operand, graph.type(of: operand).rank == 4 else { continue }
      if isWeight(index, of: operation) { continue }
      guard isImage(operand) else { return "it reads a constant image" }
      if operation is any BinaryElementwise,
        graph.type(of: operand).shape[0] != graph.type(of: node.results[0]).shape[0]
      {
        return "an operand is broadcast over the images"
      }
    }
    return nil
  }

  /// The maximum cost of a node, so that sums do not overflow.
  private static let mostTime = Double(1 << 42)

  /// The cost of a node on blocks and on plain tensors; the maximum if no kernel supports the layout.
  func times(
    of node: Node, _ operation: any Operator, by model: any NodeCostModel
  ) -> (blocked: Int, plain: Int) {
    let plain = model.time(of: node, in: graph, layouts: [:])
    let blocked = model.time(of: node, in: graph, layouts: blockedLayouts(of: node, operation))
    // Kernel selection reports nodes without any kernel.
    guard plain != nil || blocked != nil else { return (0, 0) }
    return (
      blocked.map(Self.count) ?? MinimumCut.forbidden,
      plain.map(Self.count) ?? MinimumCut.forbidden
    )
  }

  /// The layouts of the values of `node` if it runs on blocks.
  private func blockedLayouts(of node: Node, _ operation: any Operator) -> [ValueID: Layout] {
    var layouts: [ValueID: Layout] = [:]
    let types = graph.operandTypes(of: node)
    for (position, operand) in node.operands.enumerated() where !spreads(node, operation) {
      guard let operand, isImage(operand), !isWeight(position, of: operation) else { continue }
      let border = operation.border(ofOperand: position, types: types)
      let channels = position == 0 && readsPlanes(node, operation) ? planeBlock(operand) : block
      let present = layouts[operand]
      layouts[operand] = Layout(
        channelBlock: channels, borderHeight: max(border.height, present?.borderHeight ?? 0),
        borderWidth: max(border.width, present?.borderWidth ?? 0),
        borderValue: max(
          operation.borderValue(ofOperand: position), present?.borderValue ?? 0))
    }
    guard !reduces(node, operation) else { return layouts }
    for result in node.results where isImage(result) { layouts[result] = .blocked(block) }
    return layouts
  }

  /// The time of converting a value between its plain and its blocked layout.
  func conversionTime(_ value: ValueID, by model: any NodeCostModel) -> Int {
    Self.count(
      model.conversionTime(of: graph.type(of: value), from: .plain, to: .blocked(block)))
  }

  private static func count(_ time: Double) -> Int {
    time.isNaN ? 0 : Int(max(0, min(time, mostTime)))
  }
}
