// Export of a bundle's graph as a standard ONNX file.

import GraftData
import GraftDiagnostics
import GraftIR
import GraftONNX

/// Exports bundles as ONNX.
public enum Exporter {
  /// What is written of a bundle.
  public enum Form: Sendable {
    /// As imported: unfused, with the original names and weights.
    case imported
    /// The optimized graph, whose weights are folded.
    case optimized
    /// The optimized graph with its layers on bytes: float operators between QuantizeLinear and DequantizeLinear,
    /// weights int8 with a scale for each output, biases int32. For bundles on bytes.
    case quantized
  }

  /// Writes the bundle's graph.
  /// - Parameters:
  ///   - inputShapes: the shapes, by input, of the program whose graph to write; empty for the first.
  /// - Returns: the numbers of nodes and bytes, and the opset.
  /// - Throws: ``GraftError`` if the bundle is damaged or the file cannot be written; of kind `invalidArgument` for the
  ///   quantized form of a bundle that is not on bytes.
  public static func export(
    _ bundle: ModelBundle, to path: String, as form: Form = .imported,
    inputShapes: [String: InputShape] = [:]
  ) throws -> (nodes: Int, opset: Int, bytes: Int) {
    let destination = try FileReplacement(at: path, keeping: [bundle.path])
    var graph = try bundle.loadGraph(ofProgram: bundle.program(withShapes: inputShapes))
    try at(SourceLocation(file: bundle.path)) {
      switch form {
      case .imported: break
      case .optimized: graph = try Compiler().lower(graph, to: .optimized).graph
      case .quantized:
        guard let record = try bundle.loadQuantization() else {
          throw GraftError(
            .invalidArgument,
            "the bundle records no ranges of values, so it cannot be exported quantized",
            advice:
              "Compile it with --precision int8 --calibrate DATA first. A file that was quantized already is "
              + "written so with --fused.")
        }
        graph = try Compiler().putOnBytes(graph, record)
      }
    }
    let options = ONNXExportOptions(
      importedOpset: bundle.manifest.provenance.opset, producerVersion: GraftVersion.current)
    var bytes = 0
    try destination.write { temporary in
      let file = try OutputFile(temporary)
      try at(SourceLocation(file: bundle.path)) {
        try ONNXExporter.write(graph, options: options) {
          bytes += $0.count
          try file.write($0)
        }
      }
      try file.close()
    }
    return (graph.nodeCount, options.opset, bytes)
  }
}
