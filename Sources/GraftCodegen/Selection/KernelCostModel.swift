// The cost model of kernels, used by kernel selection and layout assignment.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The time of a target's kernels.
public struct KernelCostModel: NodeCostModel {
  public let target: Target
  /// Whether the factors of sums of products with constant weights may be rounded to bfloat16.
  public let roundsFactors: Bool

  public init(target: Target, roundsFactors: Bool = false) {
    self.target = target
    self.roundsFactors = roundsFactors
  }

  public var lanes: Int { target.lanes }

  public func time(of node: Node, in graph: Graph, layouts: [ValueID: Layout]) -> Double? {
    let context = SelectionContext(
      graph: graph, target: target, roundsFactors: roundsFactors, layouts: layouts)
    return try? KernelSelection.choose(for: node, context).time
  }

  public func conversionTime(
    of type: TensorType, from source: Layout, to target: Layout
  ) -> Double {
    let (x, y) = (type.with(layout: source), type.with(layout: target))
    guard !LayoutConversion.isView(x, y) else { return 0 }
    return LayoutConversion.time(x, y, lanes: lanes) + Self.memoryTime([x, y], lanes: lanes)
  }

  /// Vectors of elements that are read or written, borders left out: those of a value's neighbors are not
  /// known where layouts are compared.
  static func memoryTime(_ types: [TensorType], lanes: Int) -> Double {
    types.reduce(0) { sum, type in
      var inner = type
      inner.layout.borderHeight = 0
      inner.layout.borderWidth = 0
      return sum + Double(inner.storedByteCount?.coefficient ?? 0) / Double(type.dtype.byteCount)
    } / Double(lanes)
  }
}

extension SelectionContext {
  /// The time of reading and writing each activation of a node once.
  func memoryTime(_ node: Node) -> Double {
    let values = (node.presentOperands + node.results).filter { graph[$0].parameter == nil }
    return KernelCostModel.memoryTime(values.map(type), lanes: target.lanes)
  }

  /// The time of an operator's multiplications, in whole vectors.
  func arithmeticTime(_ node: Node, _ operation: any Operator) -> Double {
    scalarTime(node, operation) / Double(target.lanes)
  }

  /// The time of the same multiplications one at a time, or by vectors that are gathered, which takes as
  /// long.
  func scalarTime(_ node: Node, _ operation: any Operator) -> Double {
    Double(
      operation.cost(
        operands: graph.operandTypes(of: node), results: graph.resultTypes(of: node)
      ).multiplyAdds)
  }
}
