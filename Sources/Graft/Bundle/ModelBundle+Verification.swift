// The checks of `graft verify` beyond digests. Digests can be recomputed for any files, so the files are also
// checked against each other. No code is loaded.

import Foundation
import GraftData
import GraftDiagnostics
import GraftIR
import GraftRuntime

extension ModelBundle {
  /// Checks every digest and the list of files, then the consistency of manifest, graphs, weights, packed
  /// weights, library headers and target.
  /// - Throws: ``GraftError`` that names the file and the problem.
  public func verify() throws {
    try checkDigests(of: manifest.files.keys.sorted())
    try checkListing()
    let graphs = try parseGraphs(ofPrograms: Array(manifest.programs.indices))
    for (index, graph) in graphs.enumerated() {
      try at(SourceLocation(file: path(of: weightsFile(ofProgram: index)))) {
        try Self.checkWeights(of: graph)
      }
    }
    try at(SourceLocation(file: path(of: BundleLayout.manifest))) {
      try manifest.check(against: graphs)
      try manifest.checkTarget()
      for graph in graphs { try manifest.checkTraining(against: graph) }
    }
    try checkQuantization(graphs)
    try checkLibraries()
  }

  private func checkListing() throws {
    let present = try FileManager.default.contentsOfDirectory(atPath: path).sorted()
    let known = Set(manifest.files.keys).union([BundleLayout.manifest, BundleLayout.manifestDigest])
    for name in present where !known.contains(name) {
      throw GraftError(
        .invalidBundle, "is in the bundle, but not listed in the manifest",
        at: SourceLocation(file: self.path(of: name)))
    }
    let needed =
      manifest.programs.indices.map(BundleLayout.graph) + [
        BundleLayout.weights, BundleLayout.packed, BundleLayout.library,
      ] + (manifest.quantization == nil ? [] : [BundleLayout.ranges])
    for name in needed
    where manifest.files[name] == nil {
      throw GraftError(.invalidBundle, "is missing", at: SourceLocation(file: self.path(of: name)))
    }
  }

  private static func checkWeights(of graph: Graph) throws {
    for id in graph.parameters {
      guard let data = graph[id].parameter?.data, let index = data.firstNaN else { continue }
      throw GraftError(
        .invalidBundle,
        "element \(index) of tensor \((graph[id].name ?? "").quotedForDisplay) is not a number (NaN)"
      )
    }
  }

  /// Checks that the libraries are for the target and match their packed weights.
  private func checkLibraries() throws {
    let packed = try checkLibrary(BundleLayout.library, with: BundleLayout.packed)
    let location = SourceLocation(file: path(of: BundleLayout.library))
    guard manifest.build == nil || manifest.build == packed.buildID.hexadecimal else {
      throw GraftError(
        .invalidBundle, "is the library of another bundle", at: location,
        advice: "Recompile the model.")
    }
    let programs = manifest.programs.count
    guard packed.programCount == programs else {
      throw GraftError(
        .invalidBundle,
        "has \(packed.programCount) programs, the manifest describes \(programs)", at: location,
        advice: "Recompile the model.")
    }
    if manifest.training != nil {
      _ = try checkLibrary(BundleLayout.trainingLibrary, with: BundleLayout.trainingWeights)
    }
  }

  private func checkLibrary(_ name: String, with packed: String) throws -> PackedFile {
    let library = try LibraryFile(checking: path(of: name))
    let machines: Set<UInt16> =
      switch manifest.target.name {
      case "aarch64": [LibraryFile.machineAArch64]
      case "generic": [LibraryFile.machineAArch64, LibraryFile.machineX8664]
      default: [LibraryFile.machineX8664]
      }
    guard machines.contains(library.machine) else {
      throw GraftError(
        .invalidBundle,
        "is for another CPU architecture than the target \(manifest.target.name.quotedForDisplay)",
        at: SourceLocation(file: path(of: name)))
    }
    return try PackedFile(checking: path(of: packed), against: library)
  }
}

extension [UInt8] {
  /// Two digits per byte.
  var hexadecimal: String {
    map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }
}

extension TensorData {
  /// The index of the first NaN.
  fileprivate var firstNaN: Int? {
    func first<Bits: FixedWidthInteger & BitwiseCopyable>(_ infinity: Bits) -> Int? {
      withUnsafeBytes { bytes in
        let width = MemoryLayout<Bits>.size
        let magnitude = Bits.max
        // Without the sign bit, every NaN is larger than infinity.
        return (0..<(bytes.count / width)).first {
          bytes.loadUnaligned(fromByteOffset: $0 * width, as: Bits.self) & magnitude > infinity
        }
      }
    }
    return switch dtype {
    case .float64: first(Int64(bitPattern: Double.infinity.bitPattern))
    case .float32: first(Int32(bitPattern: Float.infinity.bitPattern))
    case .float16: first(Int16(0x7c00))
    case .bfloat16: first(Int16(0x7f80))
    default: nil
    }
  }
}
