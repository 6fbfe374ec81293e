// From an ONNX file to a verified graph: the phases in their order, and what the caller may choose.
// read → leave out what nothing reads → inline → check and sort → check tensors → list what is
// unsupported → convert → ONNX's checker.

import Foundation
import GraftDiagnostics
import GraftIR
import GraftOps

/// What may be decided about an import.
public struct ONNXImportOptions: Sendable {
  /// Shapes of inputs by name, which fix what the file leaves free. A dimension of N is the batch.
  public var inputShapes: [String: TensorShape] = [:]
  /// Whether a batch that the file fixes is freed where every operator allows it.
  public var freesBatch = true
  /// Bytes that constants folded while importing may take together: a small file can ask for much.
  public var largestFoldedBytes = 2 << 30

  public init() {}
}

/// A graph as it was imported, with what the file says of itself.
public struct ImportedModel: Sendable {
  /// Verified; shape arithmetic is folded, nothing else changed.
  public var graph: Graph
  /// What the user should be told: a batch that stays fixed, tied parameters, defaults of inputs.
  public var warnings: [Warning]
  /// The version of ONNX's own operator set that the file declares.
  public var opset: Int
  public var irVersion: Int
  /// Name and version of the program that wrote the file; may be empty.
  public var producer: String
}

/// Imports ONNX files.
public enum ONNXImporter {
  /// Reads, checks and converts the model at `path`.
  ///
  /// Operator sets 7 to 21. Weights stay in the mapped file, which must not be shortened while the
  /// graph lives.
  /// - Throws: ``GraftError`` that names file, node and cause: `inputOutput` where a file cannot be read,
  ///   `invalidModel` where it breaks ONNX's rules, `unsupported` with every node that Graft cannot
  ///   compile, `invalidArgument` for options that do not fit the model.
  public static func importModel(
    at path: String, options: ONNXImportOptions = ONNXImportOptions()
  ) throws -> ImportedModel {
    try at(SourceLocation(file: path)) {
      try importModel(from: MappedFile(path), path: path, options: options)
    }
  }

  /// The same for bytes that are there already.
  /// - Parameter path: the file that external data is relative to; it need not exist.
  public static func importModel(
    from file: any ByteSource, path: String,
    options: ONNXImportOptions = ONNXImportOptions()
  ) throws -> ImportedModel {
    let opened = try OpenModel(reading: file)
    var model = opened.model
    try StructureCheck.check(versionsOf: model)
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

    let converted = try BatchFreeing.convert(
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
  /// The data of every initializer that something reads, in place.
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
