// A bundle on disk: its manifest, its graph with weights, and the verification of digests. Does not load the
// bundle's code; Session does.

import Foundation
import GraftData
import GraftDiagnostics
import GraftIR
import GraftOps

/// A compiled bundle, opened for reading.
///
/// Opening checks the manifest's digest and the format version. Other files are checked against the manifest
/// when they are first used, or all of them by ``verify()``.
public struct ModelBundle: Sendable {
  /// The path as given by the user.
  public let path: String
  public let manifest: Manifest

  /// Opens the bundle at `path`.
  /// - Throws: ``GraftError`` of kind `invalidBundle` if it is not a bundle or is damaged.
  public init(opening path: String) throws {
    self.path = path
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
      throw GraftError(
        .inputOutput, "there is no such file or folder", at: SourceLocation(file: path))
    }
    let manifestPath = Self.join(path, BundleLayout.manifest)
    guard isDirectory.boolValue, FileManager.default.fileExists(atPath: manifestPath) else {
      throw GraftError(
        .invalidBundle, "is not a bundle: it has no \(BundleLayout.manifest)",
        at: SourceLocation(file: path),
        advice: "Create a bundle with: graft compile MODEL.onnx -o NAME.graft.")
    }
    let data = try Self.contents(of: manifestPath, limit: BundleLayout.largestManifest)
    manifest = try at(SourceLocation(file: manifestPath)) { try Manifest.decode(data) }
    try Self.checkManifestDigest(of: data, in: path)
  }

  /// The contents of a file of the bundle, which must not be a link.
  static func contents(of path: String, limit: Int = .max) throws -> Data {
    let file = try MappedFile(path, following: false)
    guard file.count <= limit else {
      throw GraftError(
        .invalidBundle, "has the impossible size of \(file.count) bytes",
        at: SourceLocation(file: path))
    }
    let data = file.withUnsafeBytes { Data($0) }
    try MappedFile.checkNoneWasCut()
    return data
  }

  private static func checkManifestDigest(of data: Data, in path: String) throws {
    let digestPath = join(path, BundleLayout.manifestDigest)
    let file = try contents(of: digestPath, limit: 65)
    let stated = String(decoding: file.prefix(64), as: UTF8.self)
    guard stated == Digest.sha256(data) else {
      throw GraftError(
        .invalidBundle,
        "the manifest is damaged: its SHA-256 is \(Digest.sha256(data)), "
          + "\(BundleLayout.manifestDigest) says \(stated.quotedForDisplay)",
        at: SourceLocation(file: join(path, BundleLayout.manifest)),
        advice: "Recompile the model.")
    }
  }

  /// The path of one of the bundle's files.
  public func path(of name: String) -> String { Self.join(path, name) }

  package static func join(_ folder: String, _ name: String) -> String {
    folder.hasSuffix("/") ? folder + name : folder + "/" + name
  }

  /// Whether `path` is a bundle rather than an ONNX file.
  public static func isBundle(at path: String) -> Bool {
    FileManager.default.fileExists(atPath: join(path, BundleLayout.manifest))
  }

  /// The precision of the bundle at `path`; float32 for an ONNX file.
  /// - Throws: ``GraftError`` of kind `invalidBundle` if it is a damaged bundle.
  public static func precision(at path: String) throws -> Precision {
    try isBundle(at: path) ? ModelBundle(opening: path).manifest.precision : .float32
  }

  /// Checks the digests of the named files concurrently.
  /// - Throws: ``GraftError`` of kind `invalidBundle` that names the first file that differs.
  public func checkDigests(of names: [String]) throws {
    try concurrently(names.count) { index in
      let name = names[index]
      let location = SourceLocation(file: path(of: name))
      guard let expected = manifest.files[name] else {
        throw GraftError(.invalidBundle, "is not listed in the manifest", at: location)
      }
      let found = try Digest.sha256(fileAt: path(of: name))
      guard found.bytes == expected.bytes else {
        throw GraftError(
          .invalidBundle, "is damaged: \(found.bytes) bytes, the manifest says \(expected.bytes)",
          at: location, advice: "Recompile the model.")
      }
      guard found.sha256 == expected.sha256 else {
        throw GraftError(
          .invalidBundle,
          "is damaged: its SHA-256 is \(found.sha256), the manifest says \(expected.sha256)",
          at: location, advice: "Recompile the model.")
      }
    }
  }

  /// The graph of a program as imported, with its weights by reference into the mapped file.
  /// - Parameter index: the program, an index into ``Manifest/programs``.
  /// - Throws: ``GraftError`` of kind `invalidBundle` if a file is damaged or the files are inconsistent.
  public func loadGraph(ofProgram index: Int = 0) throws -> Graph {
    try loadGraphs(ofPrograms: [index])[0]
  }

  /// The graphs of several programs, over one mapping of the weights.
  /// - Throws: ``GraftError`` of kind `invalidBundle` if a file is damaged or the files are inconsistent.
  func loadGraphs(ofPrograms indices: [Int]) throws -> [Graph] {
    let own = indices.map(weightsFile(ofProgram:)).filter { $0 != BundleLayout.weights }
    try checkDigests(of: indices.map(BundleLayout.graph) + [BundleLayout.weights] + own)
    return try parseGraphs(ofPrograms: indices)
  }

  /// The file with the parameters that only this program has; if it has none, that with all.
  func weightsFile(ofProgram index: Int) -> String {
    let own = BundleLayout.ownWeights(ofProgram: index)
    return index > 0 && manifest.files[own] != nil ? own : BundleLayout.weights
  }

  func parseGraphs(ofPrograms indices: [Int]) throws -> [Graph] {
    let shared = try Safetensors.read(path(of: BundleLayout.weights))
    return try indices.map { index in
      let weights = weightsFile(ofProgram: index)
      let own = weights == BundleLayout.weights ? [:] : try Safetensors.read(path(of: weights))
      return try parseGraph(
        path(of: BundleLayout.graph(ofProgram: index)), binding: shared.merging(own) { $1 },
        from: path(of: weights))
    }
  }

  private func parseGraph(
    _ path: String, binding tensors: [String: TensorData], from weights: String
  ) throws -> Graph {
    let location = SourceLocation(file: path)
    guard let text = String(validating: try Self.contents(of: path), as: UTF8.self) else {
      throw GraftError(.invalidBundle, "is not UTF-8 text", at: location)
    }
    var graph = try at(location) { try Graph(parsing: text) }
    try at(SourceLocation(file: weights)) { try Self.bind(tensors, to: &graph) }
    try at(location) { try graph.verify() }
    return graph
  }

  /// Binds the bytes of every parameter by name.
  static func bind(_ tensors: [String: TensorData], to graph: inout Graph) throws {
    for id in graph.parameters {
      let name = graph[id].name ?? ""
      guard var parameter = graph[id].parameter else { continue }
      guard let data = tensors[name] else {
        throw GraftError(.invalidBundle, "has no tensor \(name.quotedForDisplay)")
      }
      let type = graph.type(of: id)
      guard data.dtype == type.dtype, data.shape == type.shape.constants else {
        throw GraftError(
          .invalidBundle,
          "tensor \(name.quotedForDisplay) is \(data.dtype.rawValue)\(TensorShape(data.shape)), the "
            + "graph says \(type)")
      }
      parameter.data = data
      graph[id].definition = .parameter(parameter)
    }
  }
}
