// The types of the graph's inputs, from the file, the caller's shapes, and the dynamic batch, which is the
// first axis unless the caller or an axis name says otherwise.

import GraftDiagnostics
import GraftIR

/// The inputs of a graph, without initializers.
struct InputTypes {
  private(set) var inputs: [(name: String, type: TensorType)] = []
  /// The fixed batch size, equal on the first axis of all inputs; nil if one is dynamic, if they differ, or
  /// if the caller fixes it.
  private(set) var fixedBatch: Int?
  /// Whether the caller requests a dynamic batch although the file has a fixed one.
  private(set) var mustFree = false
  /// Warnings about shapes.
  private(set) var warnings: [Warning] = []

  /// - Throws: ``GraftError``: `invalidModel` for invalid extents, `unsupported` for inputs that are not
  ///   tensors or have dynamic axes other than the batch, `invalidArgument` for shapes that do not match the
  ///   file.
  init(of model: ModelToConvert, options: ONNXImportOptions) throws {
    // Files of IR 3 list the initializers too; later ones those whose default may be overridden.
    var hasDefault = NameTable<Bool>()
    for tensor in model.graph.initializers { hasDefault[tensor.name] = true }
    let wanted = model.graph.inputs.filter { !hasDefault.contains($0.name) }
    for name in options.inputShapes.keys.sorted() where !wanted.contains(where: { $0.name == name })
    {
      let names = wanted.map(\.name.quotedForDisplay).joined(separator: ", ")
      throw GraftError(
        .invalidArgument, "unknown input \(name.quotedForDisplay); the model has \(names)")
    }
    var batches: Set<Int?> = []
    var isFixedByCaller = false
    var open = DynamicAxes(graph: model.graph)
    for input in wanted {
      let chosen = options.inputShapes[input.name]
      let read = try at(SourceLocation(node: input.name, operatorName: "input")) {
        try readType(of: input, chosen: chosen)
      }
      guard let (type, batch) = read else {
        open.add(input)
        continue
      }
      inputs.append((input.name, type))
      batches.insert(batch)
      if let chosen, batch != nil {
        if chosen.dimensions.first?.isBatch == true {
          mustFree = true
        } else {
          isFixedByCaller = true
        }
      }
    }
    try open.throwIfAny()
    if batches.count == 1, let only = batches.first, mustFree || !isFixedByCaller {
      fixedBatch = only
    }
  }

  /// The inputs with a dynamic batch in place of the fixed one.
  var freed: [(name: String, type: TensorType)] {
    inputs.map { name, type in
      var type = type
      if type.rank >= 2 { type.shape[0] = .batch }
      return (name, type)
    }
  }

  /// The type of one input, and the batch that the file fixes for it; nil if an axis stays open.
  private mutating func readType(
    of input: FileValueInfo, chosen: TensorShape?
  ) throws -> (TensorType, Int?)? {
    guard let number = input.elementType else {
      throw GraftError(.unsupported, "it is \(input.kind), but Graft supports only tensors")
    }
    guard let dtype = ElementTypes.dtype(number) else {
      throw GraftError(
        .unsupported, "its elements are \(ElementTypes.name(number)), which Graft does not support")
    }
    guard let shape = try self.shape(of: input, chosen: chosen) else { return nil }
    do {
      _ = try shape.extents(batch: 1)
    } catch let error as GraftError {
      throw GraftError(.invalidModel, error.message)
    }
    var batch: Int?
    if let extents = input.shape, extents.count >= 2, case .constant(let extent) = extents[0],
      !extents[0].isOpen, !shape.dimensions.dropFirst().contains(where: \.isBatch)
    {
      batch = extent
    }
    return (TensorType(dtype, shape), batch)
  }

  /// Nil if an axis stays open that is not the batch.
  private mutating func shape(
    of input: FileValueInfo, chosen: TensorShape?
  ) throws -> TensorShape? {
    guard let extents = input.shape else { return chosen }
    if let chosen, chosen.rank != extents.count {
      throw GraftError(
        .invalidArgument, "the shape \(chosen) was given, but the file has rank \(extents.count)")
    }
    var dimensions: [Dimension] = []
    var isOpen = false
    for (axis, extent) in extents.enumerated() {
      let wish = chosen?.dimensions[axis]
      if case .constant(let value) = extent, !extent.isOpen {
        guard value > 0 else {
          throw GraftError(
            .invalidModel, "axis \(axis) has the extent \(value), expected a positive one")
        }
        guard wish == nil || wish == Dimension(value) || (axis == 0 && wish == .batch) else {
          throw GraftError(
            .invalidArgument,
            "the shape \(chosen.map(\.description) ?? "") was given, but the file "
              + "has extent \(value) on axis \(axis)")
        }
        dimensions.append(wish ?? Dimension(value))
        continue
      }
      if case .constant(let value) = extent {
        warnings.append(
          Warning(
            "axis \(axis) has the extent \(value) in the file, which is treated as dynamic",
            at: SourceLocation(node: input.name, operatorName: "input")))
      }
      if wish == nil, axis > 0, !Self.isBatch(axis, of: extents) { isOpen = true }
      dimensions.append(wish ?? .batch)
    }
    return isOpen ? nil : TensorShape(dimensions)
  }

  /// Whether a dynamic axis other than the first is the batch: the first axis is fixed, no other one is
  /// dynamic, and it is named so, as in sequences [length, batch, features].
  private static func isBatch(_ axis: Int, of extents: [FileValueInfo.Extent]) -> Bool {
    guard case .named(let name) = extents[axis] else { return false }
    let isOnlyOne = extents.indices.allSatisfy { $0 == axis || !extents[$0].isOpen }
    return isOnlyOne
      && (name == "N"
        || name.lowercased().split(whereSeparator: { !$0.isLetter }).contains("batch"))
  }
}
