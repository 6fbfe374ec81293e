// The structural invariants of a graph, checked after import and after every pass. GraftOps checks those that
// depend on operators.

import GraftDiagnostics

extension Graph {
  /// Checks the structure.
  ///
  /// - S1: a node reads only values that exist and that are defined before it runs.
  /// - S2: a result's definition points back at its node and position.
  /// - S3: every input and parameter has a name, and no two of them share one.
  /// - S4: output names are unique, and each output is a value that exists.
  /// - S5: extents are not negative, and element counts do not overflow at batch size 1.
  /// - S6: a layout with a channel block or a border belongs to a floating-point or uint8 value of rank 4
  ///   whose channels, height and width do not depend on the batch, and is within
  ///   ``Layout/largestExtent``.
  /// - Throws: ``GraftError`` of kind `invalidGraph` citing the invariant, with the IR line.
  public func verifyStructure() throws {
    var defined = Set<ValueID>()
    var names = Set<String>()
    for id in allValues {
      let value = self[id]
      try verifyType(value.type, of: id)
      switch value.definition {
      case .result: continue
      case .input, .parameter:
        guard let name = value.name, names.insert(name).inserted else {
          throw GraftError(
            .invalidGraph,
            "an input or a parameter has no unique name: "
              + "\((value.name ?? "").quotedForDisplay) [S3]")
        }
        defined.insert(id)
      }
    }
    for node in nodes {
      for operand in node.presentOperands {
        guard contains(operand), defined.contains(operand) else {
          throw failure(node, "operand %\(operand.index) is not defined before it is read [S1]")
        }
      }
      for (index, result) in node.results.enumerated() {
        guard contains(result), self[result].definition == .result(node: node.id, index: index)
        else { throw failure(node, "result \(index) is not defined by this node [S2]") }
        defined.insert(result)
      }
    }
    var outputNames = Set<String>()
    for output in outputs {
      guard outputNames.insert(output.name).inserted else {
        throw GraftError(
          .invalidGraph, "two outputs are named \(output.name.quotedForDisplay) [S4]")
      }
      guard contains(output.value), defined.contains(output.value) else {
        throw GraftError(
          .invalidGraph, "output \(output.name.quotedForDisplay) is not defined [S4]")
      }
    }
  }

  private func failure(_ node: Node, _ message: String) -> GraftError {
    GraftError(
      .invalidGraph, message,
      at: SourceLocation(
        node: node.origins.first, operatorName: node.opcode.rawValue, irLine: line(of: node)))
  }

  private func verifyType(_ type: TensorType, of id: ValueID) throws {
    // Only where it is needed: most of the time nothing fails.
    var name: String { (self[id].name ?? "%\(id.index)").quotedForDisplay }
    guard type.shape.dimensions.allSatisfy({ $0.coefficient >= 0 }) else {
      throw GraftError(.invalidGraph, "\(name) has a negative extent: \(type) [S5]")
    }
    // Sizes are computed from the layout, so it comes first.
    let layout = type.layout
    guard (1...Layout.largestExtent).contains(layout.channelBlock),
      (0...Layout.largestExtent).contains(layout.borderHeight),
      (0...Layout.largestExtent).contains(layout.borderWidth),
      layout.borderValue == 0 || type.dtype == .uint8 && (0...255).contains(layout.borderValue)
    else { throw GraftError(.invalidGraph, "\(name) cannot have the layout of \(type) [S6]") }
    guard (try? type.shape.extents(batch: 1)) != nil, type.storedByteCount != nil else {
      throw GraftError(.invalidGraph, "\(name) is too large: \(type) [S5]")
    }
    guard !type.layout.isPlain else { return }
    let isImage =
      type.rank == 4 && (type.dtype.isFloatingPoint || type.dtype == .uint8)
      && type.shape.dimensions.dropFirst().allSatisfy { !$0.isBatch }
    guard isImage else {
      throw GraftError(.invalidGraph, "\(name) cannot have the layout of \(type) [S6]")
    }
  }
}
