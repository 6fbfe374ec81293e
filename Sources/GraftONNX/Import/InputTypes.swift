// The types that the graph's inputs get: what the file says, what the caller fixes, and the free
// batch, on the first axis unless the caller or an axis's name puts it elsewhere.

import GraftDiagnostics
import GraftIR

/// The inputs of a graph that the caller has to give.
struct InputTypes {
  private(set) var inputs: [(name: String, type: TensorType)] = []
  /// The batch that every input fixes on its first axis; nil if one is free already, where they
  /// differ, or where the caller fixes it.
  private(set) var fixedBatch: Int?
  /// Whether the caller asks for a dynamic batch where the file fixes one.
  private(set) var mustFree = false
  /// What the user should know of how shapes were read.
  private(set) var warnings: [Warning] = []

  /// - Throws: ``GraftError``: `invalidModel` for extents that cannot be, `unsupported` for inputs
  ///   that are no tensors or whose shape is open, `invalidArgument` for shapes that do not fit.
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
    var open = OpenAxes(graph: model.graph)
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

  /// Whether an open axis behind the first is the batch: the first is fixed, no other one is open, and the
  /// name says so, as in sequences [length, batch, features].
  private static func isBatch(_ axis: Int, of extents: [FileValueInfo.Extent]) -> Bool {
    guard case .named(let name) = extents[axis] else { return false }
    let isOnlyOne = extents.indices.allSatisfy { $0 == axis || !extents[$0].isOpen }
    return isOnlyOne
      && (name == "N"
        || name.lowercased().split(whereSeparator: { !$0.isLetter }).contains("batch"))
  }
}
