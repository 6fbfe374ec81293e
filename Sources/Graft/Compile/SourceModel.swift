// The input of the compiler: a graph with its weights and metadata, from an ONNX file or a bundle.

import Foundation
import GraftData
import GraftDiagnostics
import GraftIR
import GraftONNX

/// A network before compilation, with everything that goes into its bundle.
public struct SourceModel: Sendable {
  /// As imported: shape arithmetic folded, nothing else changed. One graph for each set of input shapes that the
  /// bundle gets a program for, at least one; they differ only in what depends on the shapes.
  public var graphs: [Graph]
  public var preprocessing: Preprocessing?
  public var labels: [String]?
  public var provenance: Manifest.Provenance
  /// The fine-tuning run of its weights, if there was one.
  public var fineTuning: Manifest.FineTuning?
  /// How the layers of the bundle were put on bytes; nil for float32.
  public var quantization: QuantizationRecord?
  /// The precision of the bundle; float32 for a file.
  public var precision: Precision
  public var warnings: [Warning]

  /// The graph for the first set of input shapes.
  public var graph: Graph {
    get { graphs[0] }
    set { graphs[0] = newValue }
  }

  /// Reads an .onnx file or a bundle.
  /// - Parameters:
  ///   - inputShapes: the sets of shapes of inputs with dynamic axes, by name; of a bundle, the sets whose programs to
  ///     read. Empty for the shapes in the file, or all programs.
  ///   - withRanges: whether to read how a bundle's layers were put on bytes.
  /// - Throws: ``GraftError`` that names the file, the node and the cause; of kind `invalidArgument` if a bundle
  ///   has no program for a set, with the shapes that it has.
  public init(
    reading path: String, inputShapes: [[String: InputShape]] = [], withRanges: Bool = true
  ) throws {
    if ModelBundle.isBundle(at: path) {
      let bundle = try ModelBundle(opening: path)
      let programs =
        inputShapes.isEmpty
        ? Array(bundle.manifest.programs.indices)
        : try inputShapes.map(bundle.program(withShapes:)).uniqued()
      self.init(
        graphs: try bundle.loadGraphs(ofPrograms: programs),
        preprocessing: bundle.manifest.preprocessing,
        labels: bundle.manifest.labels, provenance: bundle.manifest.provenance, warnings: [],
        fineTuning: bundle.manifest.fineTuning,
        quantization: withRanges ? try bundle.loadQuantization() : nil,
        precision: bundle.manifest.precision)
      return
    }
    var weights: [String: TensorData] = [:]
    let imported = try (inputShapes.isEmpty ? [[:]] : inputShapes).map { shapes in
      var options = ONNXImportOptions()
      options.inputShapes = shapes.mapValues(\.shape)
      var imported = try ONNXImporter.importModel(at: path, options: options)
      imported.graph.shareParameters(&weights)
      return imported
    }
    self.init(
      graphs: imported.map(\.graph), preprocessing: nil, labels: nil,
      provenance: Manifest.Provenance(
        source: URL(filePath: path).lastPathComponent,
        sourceSHA256: try Digest.sha256(fileAt: path).sha256,
        opset: imported[0].opset),
      warnings: imported.flatMap(\.warnings).uniqued())
  }

  package init(
    graphs: [Graph], preprocessing: Preprocessing?, labels: [String]?,
    provenance: Manifest.Provenance, warnings: [Warning],
    fineTuning: Manifest.FineTuning? = nil, quantization: QuantizationRecord? = nil,
    precision: Precision = .float32
  ) {
    self.graphs = graphs
    self.preprocessing = preprocessing
    self.labels = labels
    self.provenance = provenance
    self.warnings = warnings
    self.fineTuning = fineTuning
    self.quantization = quantization
    self.precision = precision
  }
}
