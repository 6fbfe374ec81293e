// Export of a bundle's graph as a standard ONNX file.

import GraftData
import GraftDiagnostics
import GraftIR
import GraftONNX

/// Exports bundles as ONNX.
public enum Exporter {
  /// Writes the bundle's graph as imported: unfused, with the original names and weights.
  /// - Parameters:
  ///   - isFused: whether to write the optimized graph instead, whose weights are folded.
  ///   - inputShapes: the shapes, by input, of the program whose graph to write; empty for the first.
  /// - Returns: the numbers of nodes and bytes, and the opset.
  /// - Throws: ``GraftError`` if the bundle is damaged or the file cannot be written.
  public static func export(
    _ bundle: ModelBundle, to path: String, fused isFused: Bool = false,
    inputShapes: [String: InputShape] = [:]
  ) throws -> (nodes: Int, opset: Int, bytes: Int) {
    let destination = try FileReplacement(at: path, keeping: [bundle.path])
    var graph = try bundle.loadGraph(ofProgram: bundle.program(withShapes: inputShapes))
    if isFused {
      graph = try at(SourceLocation(file: bundle.path)) {
        try Compiler().lower(graph, to: .optimized).graph
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
