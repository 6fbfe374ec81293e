// Reshapes, transposes and slices in a row, as one view of the value that they begin with.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A view of `source`: each axis of the viewed value consists of parts with a stride each, outermost first.
struct MovementChain {
  struct Part: Hashable {
    var extent: Dimension
    /// Elements of the source from one index to the next.
    var stride: Dimension
  }

  let source: ValueID
  private(set) var offset = 0
  private(set) var axes: [[Part]]
  /// The nodes passed through, the source's reader first.
  private(set) var nodes: [Node] = []

  /// Nothing moved yet; nil if strides cannot be expressed.
  init?(_ source: ValueID, in graph: Graph) {
    self.source = source
    let dimensions = graph.type(of: source).shape.dimensions
    var (parts, stride) = ([[Part]](), Dimension(1))
    for extent in dimensions.reversed() {
      guard let next = stride.multiplied(by: extent) else { return nil }
      parts.append(extent == 1 ? [] : [Part(extent: extent, stride: stride)])
      stride = next
    }
    axes = parts.reversed()
  }

  /// The view from as far up as it can be expressed.
  static func before(_ value: ValueID, in graph: Graph) throws -> MovementChain? {
    var (nodes, sources) = ([Node](), [value])
    while let node = graph.producer(of: sources[0]), let x = node.operand(0), try isMovement(node) {
      nodes.insert(node, at: 0)
      sources.insert(x, at: 0)
    }
    for first in sources.indices {
      guard var chain = MovementChain(sources[first], in: graph) else { continue }
      var isWhole = true
      for (node, value) in zip(nodes, sources.dropFirst()).dropFirst(first) where isWhole {
        isWhole = try chain.append(node, to: value, in: graph)
      }
      if isWhole { return chain }
    }
    return nil
  }

  private static func isMovement(_ node: Node) throws -> Bool {
    let operation = try Catalog.operation(of: node)
    return operation is any ShapeChange || operation is Transpose || operation is Slice
      || operation is Split
  }

  /// Passes through one more node to its result `value`; false, with the chain in no particular state, if that is no
  /// such view.
  mutating func append(_ node: Node, to value: ValueID, in graph: Graph) throws -> Bool {
    nodes.append(node)
    switch try Catalog.operation(of: node) {
    case let transpose as Transpose:
      axes = transpose.permutation.map { axes[$0] }
      return true
    case let slice as Slice:
      for (index, axis) in slice.axes.enumerated() {
        guard slice.steps[index] > 0,
          select(
            slice.extents[index], from: slice.starts[index], step: slice.steps[index], of: axis)
        else { return false }
      }
      return true
    case let split as Split:
      guard let index = node.results.firstIndex(of: value) else { return false }
      let start = split.sizes[..<index].reduce(0, +)
      return select(split.sizes[index], from: start, step: 1, of: split.axis)
    case is any ShapeChange:
      return regroup(graph.type(of: value).shape.dimensions)
    default:
      return false
    }
  }

  private mutating func select(_ extent: Int, from start: Int, step: Int, of axis: Int) -> Bool {
    guard axes[axis].count <= 1, extent > 0 else { return false }
    guard let part = axes[axis].first else { return true }
    guard let skipped = part.stride.multiplied(by: Dimension(start))?.constant,
      let stride = part.stride.multiplied(by: Dimension(step))
    else { return false }
    offset += skipped
    axes[axis] = extent == 1 ? [] : [Part(extent: Dimension(extent), stride: stride)]
    return true
  }

  private mutating func regroup(_ shape: [Dimension]) -> Bool {
    var parts = Array(axes.joined())[...]
    var groups: [[Part]] = []
    for extent in shape {
      var (group, rest) = ([Part](), extent)
      while rest != 1 {
        guard let part = parts.popFirst() else { return false }
        if let smaller = rest.divided(by: part.extent) {
          group.append(part)
          rest = smaller
        } else if let inner = part.extent.divided(by: rest),
          let stride = part.stride.multiplied(by: inner)
        {
          group.append(Part(extent: rest, stride: stride))
          parts = [Part(extent: inner, stride: part.stride)] + parts
          rest = 1
        } else {
          return false
        }
      }
      groups.append(group)
    }
    axes = groups
    return parts.isEmpty
  }

  /// The stride of an axis, 0 for one of extent 1; nil if it consists of parts that lie apart.
  func stride(ofAxis axis: Int) -> Dimension? {
    guard var whole = axes[axis].last else { return 0 }
    for part in axes[axis].dropLast().reversed() {
      guard part.stride == whole.stride.multiplied(by: whole.extent),
        let extent = whole.extent.multiplied(by: part.extent)
      else { return nil }
      whole.extent = extent
    }
    return whole.stride
  }
}
