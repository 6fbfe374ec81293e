// The types that the graph's inputs get: what the file says, what the caller fixes, and the free
// batch on the first axis.

import GraftDiagnostics
import GraftIR

/// The inputs of a graph that the caller has to give.
struct InputTypes {
  private(set) var inputs: [(name: String, type: TensorType)] = []
  /// The batch that every input fixes on its first axis; nil where one is free already, where they
  /// differ, or where the caller fixes it.
  private(set) var fixedBatch: Int?
  /// Whether the caller asks for a free batch where the file fixes one.
  private(set) var mustFree = false

  /// - Throws: ``GraftError``: `invalidModel` for extents that cannot be, `unsupported` for inputs
  ///   that are no tensors or whose shape is open, `invalidArgument` for shapes that do not fit.
  init(of model: ModelToConvert, options: ONNXImportOptions) throws {
    // Files of IR 3 list the initializers too; later ones those whose default may be overridden.
    let wanted = model.graph.inputs.filter { !model.parameters.contains($0.name) }
    for name in options.inputShapes.keys.sorted() where !wanted.contains(where: { $0.name == name })
    {
      let names = wanted.map(\.name.quotedForDisplay).joined(separator: ", ")
      throw GraftError(
        .invalidArgument, "there is no input \(name.quotedForDisplay); the model has \(names)")
    }
    var batches: Set<Int?> = []
    var isFixedByCaller = false
    for input in wanted {
      let chosen = options.inputShapes[input.name]
      let (type, batch) = try at(SourceLocation(node: input.name, operatorName: "input")) {
        try Self.type(of: input, chosen: chosen)
      }
      inputs.append((input.name, type))
      batches.insert(batch)
      if let chosen, batch != nil {
        if chosen.dependsOnBatch { mustFree = true } else { isFixedByCaller = true }
      }
    }
    if batches.count == 1, let only = batches.first, mustFree || !isFixedByCaller {
      fixedBatch = only
    }
  }

  /// The inputs with a free batch in place of the fixed one.
  var freed: [(name: String, type: TensorType)] {
    inputs.map { name, type in
      var type = type
      if type.rank >= 2 { type.shape[0] = .batch }
      return (name, type)
    }
  }

  /// The type of one input, and the batch that the file fixes for it.
  private static func type(
    of input: FileValueInfo, chosen: TensorShape?
  ) throws -> (TensorType, Int?) {
    guard let number = input.elementType else {
      throw GraftError(.unsupported, "it is no tensor")
    }
    guard let dtype = ElementTypes.dtype(number) else {
      throw GraftError(
        .unsupported, "its elements are \(ElementTypes.name(number)), which Graft does not handle")
    }
    let shape = try self.shape(of: input, chosen: chosen)
    do {
      _ = try shape.extents(batch: 1)
    } catch let error as GraftError {
      throw GraftError(.invalidModel, error.message)
    }
    var batch: Int?
    if let extents = input.shape, extents.count >= 2, case .constant(let extent) = extents[0] {
      batch = extent
    }
    return (TensorType(dtype, shape), batch)
  }

  private static func shape(of input: FileValueInfo, chosen: TensorShape?) throws -> TensorShape {
    let example = "\(input.name)=Nx3x224x224"
    guard let extents = input.shape else {
      if let chosen { return chosen }
      throw GraftError(
        .unsupported, "the file does not say its shape",
        advice: "Give it, as in --input-shape \(example.escapedForDisplay)")
    }
    if let chosen, chosen.rank != extents.count {
      throw GraftError(
        .invalidArgument, "the shape \(chosen) was given, the file says rank \(extents.count)")
    }
    var dimensions: [Dimension] = []
    for (axis, extent) in extents.enumerated() {
      let wish = chosen?.dimensions[axis]
      switch extent {
      case .constant(let value):
        guard value > 0 else {
          throw GraftError(
            .invalidModel, "axis \(axis) has the extent \(value), expected a positive one")
        }
        guard wish == nil || wish == Dimension(value) || (axis == 0 && wish == .batch) else {
          throw GraftError(
            .invalidArgument,
            "the shape \(chosen.map(\.description) ?? "") was given, the file "
              + "fixes axis \(axis) to \(value)")
        }
        dimensions.append(wish ?? Dimension(value))
      case .named, .unknown:
        if let wish {
          dimensions.append(wish)
        } else if axis == 0 {
          dimensions.append(.batch)
        } else {
          var name = ""
          if case .named(let text) = extent { name = " (\(text.quotedForDisplay))" }
          throw GraftError(
            .unsupported,
            "the file leaves axis \(axis)\(name) open; only the first may be, the "
              + "batch",
            advice: "Fix it, as in --input-shape \(example.escapedForDisplay)")
        }
      }
    }
    return TensorShape(dimensions)
  }
}
