// Imports an ONNX file to a verified graph. The phases: read → remove unused nodes → inline → check and sort
// → check tensors → list unsupported nodes → convert → ONNX's checker.

import Foundation
import GraftDiagnostics
import GraftIR
import GraftOps

/// The options of an import.
public struct ONNXImportOptions: Sendable {
  /// Shapes of inputs by name, which fix dynamic axes. A dimension of N is the batch.
  public var inputShapes: [String: TensorShape] = [:]
  /// Whether to make a fixed batch size dynamic if every operator supports it.
  public var freesBatch = true
  /// The maximum total size in bytes of constants folded during import, because a small file can request
  /// large ones.
  public var largestFoldedBytes = 2 << 30

  public init() {}
}

/// An imported graph and the file's metadata.
public struct ImportedModel: Sendable {
  /// Verified; shape arithmetic is folded, nothing else changed.
  public var graph: Graph
  /// Warnings: a batch size that stays fixed, shared parameters, defaults of inputs.
  public var warnings: [Warning]
  /// The opset of ONNX's default domain that the file declares.
  public var opset: Int
  public var irVersion: Int
  /// Name and version of the program that wrote the file; may be empty.
  public var producer: String
}

/// Imports ONNX files.
public enum ONNXImporter {
  /// Reads, checks and converts the model at `path`.
  ///
  /// Supports opsets 1 to 28. Weights stay in the mapped file, which must not be truncated while the graph
  /// exists.
  /// - Throws: ``GraftError`` that names file, node and cause: `inputOutput` if a file cannot be read,
  ///   `invalidModel` if it violates the ONNX specification, `unsupported` with every node that Graft cannot
  ///   compile, `invalidArgument` for options that do not match the model.
  public static func importModel(
    at path: String, options: ONNXImportOptions = ONNXImportOptions()
  ) throws -> ImportedModel {
    try at(SourceLocation(file: path)) {
      try importModel(from: MappedFile(path), path: path, options: options)
    }
  }

  /// Imports a model from bytes in memory.
  /// - Parameter path: the file that external data is relative to; it need not exist.
  public static func importModel(
    from file: any ByteSource, path: String,
    options: ONNXImportOptions = ONNXImportOptions()
  ) throws -> ImportedModel {
    let opened = try OpenModel(reading: file)
    var model = opened.model
    try StructureCheck.check(versionsOf: model)
    model.graph.captureNames()
    let isRead = model.graph.readNodes()
    model.graph.removeUnreadNodes()
    try FunctionInliner.inline(in: &model)
    model.graph.removeUnreadNodes()
    var check = StructureCheck(model.graph)
    try check.run()
    try model.graph.sortNodes()
    var loader = TensorLoader(file: file, path: path)
    let parameters = try NameTable(initializersOf: model.graph, loader: &loader)
    try SupportCheck.check(model)

    let converted = try DynamicBatch.convert(
      ModelToConvert(
        graph: model.graph, opset: model.opsets[""] ?? 0, parameters: parameters, loader: loader),
      options: options)
    try SupportCheck.checkNothingLeft(ofShapeArithmetic: converted.graph)
    let complaints = try LibraryCheck.check(opened, isRead: isRead)
    return ImportedModel(
      graph: converted.graph, warnings: check.warnings + complaints + converted.warnings,
      opset: model.opsets[""] ?? 0, irVersion: model.irVersion, producer: model.producer)
  }
}

extension NameTable<TensorData> {
  /// The data of every initializer that is read, without copying.
  fileprivate init(initializersOf graph: FileGraph, loader: inout TensorLoader) throws {
    self.init()
    var isRead = NameTable<Bool>()
    for node in graph.nodes { for input in node.inputs { isRead[input] = true } }
    for output in graph.outputs { isRead[output.name] = true }
    for tensor in graph.initializers where isRead.contains(tensor.name) {
      self[tensor.name] = try loader.data(of: tensor)
    }
  }
}
