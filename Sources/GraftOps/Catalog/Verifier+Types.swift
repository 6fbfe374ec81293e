// The part of verification that needs the catalog: every node has a known operator, valid attributes, a valid
// number of operands, and the inferred result types.

import GraftDiagnostics
import GraftIR

extension Graph {
  /// Checks the structure of the graph (``Graph/verifyStructure()``) and the types of every node.
  ///
  /// - V1: the structure holds.
  /// - V2: every opcode is in the catalog and its attributes read.
  /// - V3: every result has the element type and the shape that the operator infers.
  /// - V4: a value has a blocked layout only where the operator's kernels support it, and all of a node's have one
  ///   block size.
  /// - V5: an operand whose padding a node with blocked layouts reads has a border at least that wide.
  /// - Throws: ``GraftError`` of kind `invalidGraph` with the IR line.
  public func verify() throws {
    try verifyStructure()
    for node in nodes {
      // Located lazily: printing a line numbers the whole graph.
      try at(location(of: node)) { try verifyTypes(of: node) }
    }
  }

  /// Where errors about `node` point: its name in the model, its operator, its IR line.
  public func location(of node: Node) -> SourceLocation {
    SourceLocation(
      node: node.origins.first, operatorName: node.opcode.rawValue, irLine: line(of: node))
  }

  private func verifyTypes(of node: Node) throws {
    let operation = try Catalog.operation(of: node)
    let operands = operandTypes(of: node)
    let results = resultTypes(of: node)
    let inferred = try Catalog.inferTypes(operation, operands)
    guard inferred.count == results.count else {
      throw GraftError(
        .invalidGraph, "\(results.count) results, the operator has \(inferred.count) [V3]")
    }
    for (index, (expected, found)) in zip(inferred, results).enumerated() {
      guard expected.dtype == found.dtype, expected.shape == found.shape else {
        throw GraftError(
          .invalidGraph, "result \(index) is \(found), the operator infers \(expected) [V3]")
      }
    }
    let layouts = (operands.compactMap(\.self) + results).map(\.layout)
    if layouts.contains(where: { !$0.isPlain }) {
      let support = operation.layoutSupport(operands: operands, results: results)
      guard support != .plain else {
        throw GraftError(.invalidGraph, "the operator's kernels support only plain operands [V4]")
      }
      guard support != .reducing || results.allSatisfy(\.layout.isPlain) else {
        throw GraftError(.invalidGraph, "the operator's kernels support only plain results [V4]")
      }
      guard support != .spreading || operands.allSatisfy({ $0?.layout.isPlain ?? true }) else {
        throw GraftError(.invalidGraph, "the operator's kernels support only plain operands [V4]")
      }
      // Sums on bytes read images with few channels in blocks of their own.
      let readsFew =
        operands.first??.dtype == .uint8
        && operands.first??.layout.channelBlock == Layout.fewChannels
      let blocks = Set(
        layouts.dropFirst(readsFew ? 1 : 0).filter(\.isBlocked).map(\.channelBlock))
      guard blocks.count <= 1 || support == .conversion || operation.convertsElements else {
        throw GraftError(
          .invalidGraph, "blocks of \(blocks.sorted()) channels in one node [V4]")
      }
    }
    guard layouts.contains(where: \.isBlocked) else { return }
    for (index, operand) in operands.enumerated() {
      let border = operation.border(ofOperand: index, types: operands)
      guard let layout = operand?.layout,
        layout.borderHeight < border.height || layout.borderWidth < border.width
      else { continue }
      throw GraftError(
        .invalidGraph,
        "operand \(index) has layout \(layout), a border of \(border.height)x\(border.width) is required [V5]"
      )
    }
  }
}
