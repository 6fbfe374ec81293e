// Writes preprocessed inputs for programs that use a bundle without Graft.

import Foundation
import GraftData
import GraftDiagnostics

/// Writes preprocessed data as NumPy files.
public struct DataWriter {
  private var network: ImageNetwork
  public private(set) var warnings: [Warning] = []
  /// What the data were, once they were written.
  public private(set) var data = ""

  /// - Parameter output: the output that targets are for; nil takes the one that ``Evaluator`` would.
  /// - Throws: ``GraftError`` if there is no such output.
  public init(_ bundle: ModelBundle, output: String? = nil) throws {
    network = try ImageNetwork(bundle, output: output)
    warnings = network.warnings
  }

  private var tensorNames: [String] {
    network.inputs.count == 1 ? ["x.npy"] : TensorFiles.names(of: network.inputs.map(\.name))
  }

  /// The names of the files that are written.
  public var fileNames: [String] { tensorNames + ["y.npy", "files.txt"] }

  /// Writes `x.npy` (N × the input's shape, in its element type; with several inputs, one file per input
  /// name), `y.npy` (N int64 class indices; for a class for every pixel N × height × width uint8 indices, 255 where
  /// there is none; for an output that is an image N × the output's shape of its values) and `files.txt` (one name per line) to `folder`.
  /// - Returns: the number of items written.
  /// - Throws: ``GraftError`` if the data cannot be used or the folder cannot be written.
  public mutating func write(
    _ path: String, to folder: String, threads: Int, progress: (Int, Int) -> Void = { _, _ in }
  ) throws -> Int {
    network = try network.taking(dataAt: path)
    let (dataset, opening) = try network.open(path)
    warnings += opening
    data = dataset.summary
    var count = 0
    try DirectoryReplacement.fill(folder) {
      count = try write(dataset, into: $0, threads: threads, progress: progress)
    }
    return count
  }

  private mutating func write(
    _ dataset: any Dataset, into folder: String, threads: Int, progress: (Int, Int) -> Void
  ) throws -> Int {
    let writers = try zip(tensorNames, network.inputs).map { name, input in
      try NPYWriter(ModelBundle.join(folder, name), element: input.element, rowShape: input.shape)
    }
    let path = ModelBundle.join(folder, "y.npy")
    let rows: NPYWriter? =
      if let size = network.mapSize {
        try NPYWriter(path, element: .uint8, rowShape: [size.height, size.width])
      } else if network.picture != nil {
        // Networks in another type are trained in float32.
        try NPYWriter(path, element: .float32, rowShape: network.output.shape)
      } else {
        nil
      }
    var labels: [Int64] = []
    var count = 0
    var files = ""
    let loader = try network.loader(dataset, batchSize: 64, threads: threads)
    while let batch = try loader.next() {
      for (writer, values) in zip(writers, batch.inputs) { try writer.append(values) }
      for (index, target) in zip(batch.indices, batch.targets) {
        switch target {
        case .label(let label) where rows == nil: labels.append(Int64(label))
        case .map(let map): try rows?.append(map.values.map { Float($0) })
        case .values(let values) where network.picture != nil: try rows?.append(values)
        default:
          throw GraftError(
            .invalidData,
            "\(dataset.name(of: index).quotedForDisplay) has no \(network.picture == nil ? "class" : "target")",
            at: SourceLocation(file: dataset.location))
        }
        count += 1
        files += dataset.name(of: index).replacing("\n", with: "\\n") + "\n"
      }
      progress(loader.deliveredCount + loader.brokenCount, dataset.count)
    }
    warnings += loader.warnings
    for writer in writers { try writer.finish() }
    if let rows {
      try rows.finish()
    } else {
      try FileReplacement(at: path).write(try NPYArray(labels, shape: [labels.count]).encoded())
    }
    try FileReplacement(at: ModelBundle.join(folder, "files.txt")).write(Array(files.utf8))
    return count
  }
}
