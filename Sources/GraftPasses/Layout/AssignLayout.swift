// Chooses a blocked or plain layout for every image, and inserts layout conversions.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Assigns blocked layouts to regions of the graph and converts only at their boundaries.
///
/// ```
/// %0 "x" = input : f32[N,8,8,8]
/// %2 = convolution(%0, %1) {strides=[1, 1], pads=[1, 1, 1, 1]} : f32[N,8,8,8] from "conv"
/// ```
/// becomes
/// ```
/// %0 "x" = input : f32[N,8,8,8]
/// %2 = convert_layout(%0) : f32[N,8,8,8]@c8b1x1
/// %3 = convolution(%2, %1) {…} : f32[N,8,8,8]@c8 from "conv"
/// %4 = convert_layout(%3) : f32[N,8,8,8]
/// ```
/// Every node runs either on blocked or on plain tensors. The choice is a minimum cut: each node has a cost
/// on either side, and each value a cost of conversion, paid once regardless of its number of readers. A
/// blocked value has the widest border that its readers need. A convolution on an image with few channels
/// reads unblocked planes, with a border if it pads. Running the pass again starts from plain tensors and
/// gives the same graph.
public struct AssignLayout: Pass {
  public static let name = "assign-layout"
  public static let summary = "chooses blocked or plain layouts for the whole graph"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    Self.makePlain(&graph)
    let assignment = try LayoutAssignment(graph, context.costs, &context)
    try assignment.apply(to: &graph, &context)
  }

  /// Removes all layouts and conversions.
  private static func makePlain(_ graph: inout Graph) {
    for id in graph.nodeIDs where graph[id].opcode == ConvertLayout.opcode {
      guard let x = graph[id].operand(0), let result = graph[id].results.first else { continue }
      graph.replaceUses(of: result, with: x)
      graph.remove(id)
    }
    for value in graph.allValues { graph[value].type.layout = .plain }
  }
}

/// The nodes that run on blocks, and the layout that each reader of a value needs.
private struct LayoutAssignment {
  private let nodes: [Node]
  private let operations: [any Operator]
  private let blocked: Set<Int>
  private let costs: LayoutCosts

  init(_ graph: Graph, _ model: (any NodeCostModel)?, _ context: inout PassContext) throws {
    nodes = graph.nodes
    operations = try nodes.map { try Catalog.operation(of: $0) }
    costs = LayoutCosts(graph: graph, block: model?.lanes ?? 1)
    guard let model, model.lanes > 1 else {
      blocked = []
      return
    }
    var network = MinimumCut(vertices: nodes.count)
    for (index, node) in nodes.enumerated() {
      let operation = operations[index]
      if let reason = costs.obstacle(node, operation) {
        network.addEdge(index, network.sink, MinimumCut.forbidden)
        if type(of: operation).group == .convolution {
          context.left(graph.title(node), because: reason)
        }
      } else {
        let time = costs.times(of: node, operation, by: model)
        network.addEdge(index, network.sink, time.blocked)
        network.addEdge(network.source, index, time.plain)
      }
    }
    Self.addConversions(to: &network, nodes, operations, costs, model, graph)
    blocked = network.sourceSide()
  }

  /// A value is converted once if its producer and any of its readers are on different sides.
  private static func addConversions(
    to network: inout MinimumCut, _ nodes: [Node], _ operations: [any Operator],
    _ costs: LayoutCosts, _ model: any NodeCostModel, _ graph: Graph
  ) {
    var makers: [ValueID: Int] = [:]
    var readers: [ValueID: [Int]] = [:]
    for (index, node) in nodes.enumerated() {
      // The result of a reduction is plain on either side.
      let maker = costs.reduces(node, operations[index]) ? network.sink : index
      for result in node.results { makers[result] = maker }
      for operand in Set(costs.images(of: node, operations[index])) {
        let readsPlanes =
          operand == node.operand(0) && costs.readsPlanes(node, operations[index])
        let readsPlain = readsPlanes || costs.spreads(node, operations[index])
        readers[operand, default: []].append(readsPlain ? network.sink : index)
      }
    }
    for output in graph.outputs where costs.isImage(output.value) {
      readers[output.value, default: []].append(network.sink)
    }
    for value in readers.keys.sorted() {
      let maker = makers[value] ?? network.sink
      let cost = costs.conversionTime(value, by: model)
      let toPlain = network.addVertex()
      let toBlocked = network.addVertex()
      network.addEdge(maker, toPlain, cost)
      network.addEdge(toBlocked, maker, cost)
      for reader in readers[value, default: []] {
        network.addEdge(toPlain, reader, MinimumCut.forbidden)
        network.addEdge(reader, toBlocked, MinimumCut.forbidden)
      }
    }
  }

  // MARK: Applying

  /// The layout that an operand needs.
  private enum Need: Hashable {
    case plain
    case planes
    case blocks
  }

  private struct Reader {
    let node: Int
    let operand: Int
    let need: Need
    let border: Border
  }

  /// Rows above and below, columns left and right, and what they hold.
  private struct Border {
    var height = 0
    var width = 0
    var value = 0

    /// One that serves both readers: only those that read a border care what it holds.
    func joined(_ other: Border) -> Border {
      Border(
        height: max(height, other.height), width: max(width, other.width),
        value: max(value, other.value))
    }
  }

  func apply(to graph: inout Graph, _ context: inout PassContext) throws {
    let readers = findReaders(graph)
    var borders = makeBorders(readers)
    spreadBorders(&borders, readers, graph)
    for index in nodes.indices
    where blocked.contains(index) && !costs.reduces(nodes[index], operations[index]) {
      for result in nodes[index].results {
        graph[result].type.layout = layout(.blocks, of: result, borders[result])
      }
    }
    let sources = graph.inputs + nodes.flatMap(\.results)
    for value in sources where costs.isImage(value) {
      try convert(value, readers[value, default: []], borders, &graph, &context)
    }
    try mergeConversions(&graph)
    report(graph, &context)
  }

  /// Operators that convert every element by itself write any layout: what converts the layout of their only
  /// reader's operand, or of their own, is not needed.
  private func mergeConversions(_ graph: inout Graph) throws {
    for node in graph.nodes where node.opcode == ConvertLayout.opcode {
      guard let x = node.operand(0), let y = node.results.first else { continue }
      if let maker = graph.producer(of: x), try convertsElements(maker),
        graph.readers(of: x).count == 1, !graph.isOutput(x)
      {
        graph[x].type.layout = graph.type(of: y).layout
        graph.replaceUses(of: y, with: x)
        graph.remove(node.id)
      } else if graph.readers(of: y).count == 1, !graph.isOutput(y),
        let reader = graph.readers(of: y).first, try convertsElements(graph[reader]),
        graph[reader].operand(0) == y
      {
        graph[reader].operands[0] = x
        graph.remove(node.id)
      }
    }
  }

  private func convertsElements(_ node: Node) throws -> Bool {
    try Catalog.operation(of: node).convertsElements
  }

  private func findReaders(_ graph: Graph) -> [ValueID: [Reader]] {
    var readers: [ValueID: [Reader]] = [:]
    for (index, node) in nodes.enumerated() {
      let types = graph.operandTypes(of: node)
      for (position, operand) in node.operands.enumerated() {
        guard let operand, costs.isImage(operand),
          !costs.isWeight(position, of: operations[index])
        else { continue }
        let isBlocked = blocked.contains(index) && !costs.spreads(node, operations[index])
        let readsPlanes =
          isBlocked && position == 0 && costs.readsPlanes(node, operations[index])
        let need: Need = readsPlanes ? .planes : (isBlocked ? .blocks : .plain)
        let border = operations[index].border(ofOperand: position, types: types)
        let value = operations[index].borderValue(ofOperand: position)
        readers[operand, default: []].append(
          Reader(
            node: index, operand: position, need: need,
            border: border == (0, 0)
              ? Border() : Border(height: border.height, width: border.width, value: value)))
      }
    }
    return readers
  }

  private typealias Borders = [Need: Border]

  private func makeBorders(_ readers: [ValueID: [Reader]]) -> [ValueID: Borders] {
    readers.mapValues { list in
      var borders: Borders = [:]
      for reader in list where reader.need != .plain {
        borders[reader.need] = reader.border.joined(borders[reader.need] ?? Border())
      }
      return borders
    }
  }

  /// Gives a value the border of the result that may overwrite it, so that the layouts are equal.
  private func spreadBorders(
    _ borders: inout [ValueID: Borders], _ readers: [ValueID: [Reader]], _ graph: Graph
  ) {
    for index in nodes.indices.reversed()
    where blocked.contains(index) && !costs.reduces(nodes[index], operations[index]) {
      guard let result = nodes[index].results.first, let border = borders[result]?[.blocks] else {
        continue
      }
      for position in operations[index].overwritableOperands {
        guard let operand = nodes[index].operand(position), readers[operand]?.count == 1,
          graph.type(of: operand).shape == graph.type(of: result).shape, !graph.isOutput(operand)
        else { continue }
        borders[operand, default: [:]][.blocks] = border
      }
    }
  }

  private func layout(_ need: Need, of value: ValueID, _ borders: Borders?) -> Layout {
    let border = borders?[need] ?? Border()
    let block =
      switch need {
      case .plain: 1
      case .planes: costs.planeBlock(value)
      case .blocks: costs.block
      }
    return Layout(
      channelBlock: block, borderHeight: border.height, borderWidth: border.width,
      borderValue: border.value)
  }

  /// Inserts the conversions of one value, one per required layout.
  private func convert(
    _ value: ValueID, _ readers: [Reader], _ borders: [ValueID: Borders], _ graph: inout Graph,
    _ context: inout PassContext
  ) throws {
    for need in [Need.plain, .planes, .blocks] {
      let wanted = layout(need, of: value, borders[value])
      let users = readers.filter { $0.need == need }
      let isOutput = need == .plain && graph.isOutput(value)
      guard !users.isEmpty || isOutput, graph.type(of: value).layout != wanted else { continue }
      let first = users.map(\.node).min().map { nodes[$0].id }
      let type = graph.type(of: value).with(layout: wanted)
      let converted = graph.addNode(
        ConvertLayout.opcode, [value], ConvertLayout().attributes, types: [type], before: first)[0]
      for user in users { graph[nodes[user.node].id].operands[user.operand] = converted }
      guard isOutput else { continue }
      for index in graph.outputs.indices where graph.outputs[index].value == value {
        graph.outputs[index].value = converted
      }
    }
  }

  private func report(_ graph: Graph, _ context: inout PassContext) {
    let blockedValues = graph.allValues.count { graph.type(of: $0).layout.isBlocked }
    guard blockedValues > 0 else { return }
    let conversions = graph.nodes.filter { $0.opcode == ConvertLayout.opcode }
    context.did(
      "chose a layout with blocks of \(costs.block) channels for \(blockedValues) images, with \(conversions.count) "
        + "conversions")
    for node in conversions {
      guard let x = node.operand(0), let y = node.results.first else { continue }
      let maker = graph.producer(of: x).map { "the result of \(graph.title($0))" }
      context.did(
        "converted \(maker ?? graph[x].name?.quotedForDisplay ?? "a value") from "
          + "\(graph.type(of: x)) to \(graph.type(of: y))")
    }
  }
}
