// Dynamic axes of inputs other than the batch: one error for all of them, with a suggested --input-shape for
// each input.

import GraftDiagnostics

struct DynamicAxes {
  private let graph: FileGraph
  private var inputs: [FileValueInfo] = []

  init(graph: FileGraph) { self.graph = graph }

  mutating func add(_ input: FileValueInfo) { inputs.append(input) }

  /// - Throws: ``GraftError`` of kind `unsupported` that names every dynamic axis, if there is any.
  func throwIfAny() throws {
    guard let first = inputs.first else { return }
    let others = inputs.dropFirst().map {
      "; input \($0.name.quotedForDisplay): \(complaint(about: $0))"
    }
    let hints = inputs.map { "--input-shape \(hint(for: $0).escapedForDisplay)" }
    throw GraftError(
      .unsupported, complaint(about: first) + others.joined(),
      at: SourceLocation(node: first.name, operatorName: "input"),
      advice: "Give the shape: " + hints.joined(separator: " "))
  }

  private func complaint(about input: FileValueInfo) -> String {
    guard let extents = input.shape else { return "the file has no shape for it" }
    var axes: [String] = []
    for (axis, extent) in extents.enumerated() where axis > 0 && extent.isOpen {
      switch extent {
      case .named(let name): axes.append("axis \(axis) (\(name.quotedForDisplay))")
      case .constant(let value): axes.append("axis \(axis) (\(value))")
      case .unknown: axes.append("axis \(axis)")
      }
    }
    let list = axes.isEmpty ? "an axis" : axes.joined(separator: ", ")
    return
      "\(list) \(axes.count > 1 ? "are" : "is") dynamic; only the first axis, the batch, may be"
  }

  /// `x=Nx3x224x224` with the fixed extents of the file and guesses for the dynamic ones.
  private func hint(for input: FileValueInfo) -> String {
    let channels = channelsOfFirstConvolution(reading: input.name)
    guard let extents = input.shape else {
      return "\(input.name)=Nx\(channels ?? 3)x224x224"
    }
    func fixed(_ axis: Int) -> Int? {
      guard extents.indices.contains(axis), case .constant(let value) = extents[axis],
        !extents[axis].isOpen
      else { return nil }
      return value
    }
    let isImage = extents.count == 4
    let channelsLast = isImage && fixed(1) == nil && (1...4).contains(fixed(3) ?? 0)
    let spatial = channelsLast ? [1, 2] : [2, 3]
    let side = isImage ? spatial.compactMap(fixed).first ?? 224 : 128
    let parts = extents.indices.map { axis -> String in
      if let value = fixed(axis) { return "\(value)" }
      if axis == 0 { return "N" }
      return isImage && axis == 1 && !channelsLast ? "\(channels ?? 3)" : "\(side)"
    }
    return "\(input.name)=\(parts.joined(separator: "x"))"
  }

  /// The number of channels of an input, from the weights of the first convolution that reads it.
  private func channelsOfFirstConvolution(reading name: String) -> Int? {
    guard
      let node = graph.nodes.first(where: { $0.opType == "Conv" && $0.inputs.first == name }),
      node.inputs.count > 1,
      let weights = graph.initializers.first(where: { $0.name == node.inputs[1] }),
      weights.extents.count >= 2
    else { return nil }
    var groups = 1
    if case .int(let value)? = node.attribute("group")?.value { groups = value }
    let (channels, overflow) = weights.extents[1].multipliedReportingOverflow(by: groups)
    return overflow || channels < 1 ? nil : channels
  }
}
