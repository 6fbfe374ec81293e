// The input of the compiler: a graph with its weights and metadata, from an ONNX file or a bundle.

import Foundation
import GraftData
import GraftDiagnostics
import GraftIR
import GraftONNX

/// A network before compilation, with everything that goes into its bundle.
public struct SourceModel: Sendable {
  /// As imported: shape arithmetic folded, nothing else changed.
  public var graph: Graph
  public var preprocessing: Preprocessing?
  public var labels: [String]?
  public var provenance: Manifest.Provenance
  /// The fine-tuning run of its weights, if there was one.
  public var fineTuning: Manifest.FineTuning?
  public var warnings: [Warning]

  /// Reads an .onnx file or a bundle.
  /// - Throws: ``GraftError`` that names the file, the node and the cause.
  public init(
    reading path: String, inputShapes: [String: InputShape] = [:]
  ) throws {
    if ModelBundle.isBundle(at: path) {
      let bundle = try ModelBundle(opening: path)
      guard inputShapes.isEmpty else {
        throw GraftError(
          .invalidArgument, "the input shapes of a bundle are fixed",
          at: SourceLocation(file: path), advice: "Pass --input-shape when compiling the ONNX file."
        )
      }
      self.init(
        graph: try bundle.loadGraph(), preprocessing: bundle.manifest.preprocessing,
        labels: bundle.manifest.labels, provenance: bundle.manifest.provenance, warnings: [],
        fineTuning: bundle.manifest.fineTuning)
      return
    }
    var options = ONNXImportOptions()
    options.inputShapes = inputShapes.mapValues(\.shape)
    let imported = try ONNXImporter.importModel(at: path, options: options)
    self.init(
      graph: imported.graph, preprocessing: nil, labels: nil,
      provenance: Manifest.Provenance(
        source: URL(filePath: path).lastPathComponent,
        sourceSHA256: try Digest.sha256(fileAt: path).sha256,
        opset: imported.opset),
      warnings: imported.warnings)
  }

  package init(
    graph: Graph, preprocessing: Preprocessing?, labels: [String]?,
    provenance: Manifest.Provenance, warnings: [Warning],
    fineTuning: Manifest.FineTuning? = nil
  ) {
    self.graph = graph
    self.preprocessing = preprocessing
    self.labels = labels
    self.provenance = provenance
    self.warnings = warnings
    self.fineTuning = fineTuning
  }
}
