// Makes a fixed batch size dynamic if possible: the graph is first converted with a symbolic batch, and with
// the file's fixed batch size, with a warning, only if that fails.

import GraftDiagnostics
import GraftIR
import GraftOps

enum DynamicBatch {
  /// Converts `model` with the most general batch that it allows.
  /// - Throws: what ``Converter/run()`` throws for the batch that the file gives.
  static func convert(
    _ model: ModelToConvert, options: ONNXImportOptions
  ) throws -> (graph: Graph, warnings: [Warning]) {
    let types = try InputTypes(of: model, options: options)
    var converted = try convert(model, types, options)
    converted.warnings = types.warnings + converted.warnings
    return converted
  }

  private static func convert(
    _ model: ModelToConvert, _ types: InputTypes, _ options: ONNXImportOptions
  ) throws -> (graph: Graph, warnings: [Warning]) {
    guard let batch = types.fixedBatch, options.freesBatch || types.mustFree else {
      return try convert(model, types.inputs, nil, options)
    }
    do {
      let freed = try convert(model, types.freed, batch, options)
      for output in freed.graph.outputs {
        let shape = freed.graph.type(of: output.value).shape
        guard shape.dimensions.first == .batch else {
          throw GraftError(
            .unsupported, "output \(output.name.quotedForDisplay) would have the shape \(shape)")
        }
      }
      return freed
    } catch let reason as GraftError {
      guard !types.mustFree else { throw reason.adding(context: "making the batch size dynamic") }
      var fixed = try convert(model, types.inputs, nil, options)
      fixed.warnings.append(
        Warning("the batch size stays \(batch), as in the file; it cannot be dynamic: \(reason)"))
      return fixed
    }
  }

  private static func convert(
    _ model: ModelToConvert, _ inputs: [(name: String, type: TensorType)],
    _ freedBatch: Int?, _ options: ONNXImportOptions
  ) throws -> (graph: Graph, warnings: [Warning]) {
    var converter = try Converter(
      model, inputTypes: inputs, freedBatch: freedBatch, foldedBytes: options.largestFoldedBytes)
    try converter.run()
    return (converter.graph, converter.warnings)
  }
}

/// Whether a fixed batch size can become dynamic.
enum FreedBatch {
  /// - Throws: ``GraftError`` of kind `unsupported` if a node computes along the batch axis, so that an
  ///   image's result would depend on other images.
  static func check(
    _ operation: any Operator, _ operands: [TensorType?], _ results: [TensorType]
  ) throws {
    guard let shape = operands.first??.shape,
      operands.contains(where: { $0?.shape.dependsOnBatch ?? false })
    else { return }
    guard results.allSatisfy(\.shape.dependsOnBatch) else {
      throw GraftError(.unsupported, "it computes \(results) from operands with a batch")
    }
    for axis in operation.axesWorkedAlong(rank: shape.rank)
    where shape.dimensions.indices.contains(axis) && shape.dimensions[axis].isBatch {
      throw GraftError(.unsupported, "it computes along axis \(axis), the batch")
    }
  }
}
