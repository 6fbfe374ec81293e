// libFuzzer's entry for the bundle loader: whatever stands in a bundle's files, opening, checking,
// reading, lowering, exporting and running it ends in results or in a GraftError. The library beside the
// files is always one that was compiled here, since running a foreign one is running foreign code.

import Foundation
import FuzzSupport
import Graft
import GraftDiagnostics
import GraftIR
import GraftONNX

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let image = BundleImage(Array(UnsafeBufferPointer(start: start, count: count)))
  let seed = Seed.all[Int(image.seed) % Seed.all.count]
  // Errors of writing are this program's own and end it.
  do { try image.write(to: seed.folder, library: seed.library) } catch { fatalError("\(error)") }
  guard let bundle = attempt({ try ModelBundle(opening: seed.folder) }) else { return 0 }
  attempt { try bundle.verify() }
  if let graph = attempt({ try bundle.loadGraph() }) {
    let text = graph.text
    let again = attempt { try Graph(parsing: text).text }
    guard again == text else { fatalError("the text of the graph does not parse back:\n\(text)") }
    attempt {
      let model = try SourceModel(reading: seed.folder)
      return try Compiler().lower(graph, to: .memory, quantization: model.quantization)
    }
    let options = ONNXExportOptions(importedOpset: bundle.manifest.provenance.opset)
    attempt { try ONNXExporter.write(graph, options: options) { _ in } }
  }
  attempt { try Session(bundle, threads: 1) }
  if bundle.manifest.preprocessing != nil {
    attempt { try Classifier(bundle, threads: 1).classify([Seed.picture]) }
  }
  return 0
}

/// What `body` gives; nil where it ends in a GraftError, as it may.
@discardableResult
private func attempt<Result>(_ body: () throws -> Result) -> Result? {
  do { return try body() } catch is GraftError { return nil } catch {
    fatalError("not a GraftError: \(error)")
  }
}

/// A bundle that was compiled when the corpus was made: its code stays in a folder of its own, and the
/// mutated files are written beside it.
struct Seed {
  var folder: String
  var library: (bytes: Int, sha256: String)

  static let environment = ProcessInfo.processInfo.environment
  static let picture = environment["GRAFT_FUZZ_PICTURE"] ?? ""

  static let all: [Seed] = {
    let own = environment["GRAFT_FUZZ_FOLDER"] ?? FileManager.default.temporaryDirectory.path
    do {
      let libraries = environment["GRAFT_FUZZ_LIBRARIES"] ?? ""
      let seeds = try FileManager.default.contentsOfDirectory(atPath: libraries).sorted().map {
        name -> Seed in
        let folder = "\(own)/\(name)"
        try FileManager.default.createDirectory(
          atPath: folder, withIntermediateDirectories: true)
        let bytes = try Data(contentsOf: URL(filePath: "\(libraries)/\(name)"))
        let copy = "\(folder)/\(BundleLayout.library)"
        try bytes.write(to: URL(filePath: copy))
        // Kept loaded, so that a session need not load it every time.
        guard dlopen(copy, RTLD_NOW | RTLD_LOCAL) != nil else { fatalError("cannot load \(copy)") }
        return Seed(folder: folder, library: (bytes.count, BundleImage.sha256(Array(bytes))))
      }
      guard !seeds.isEmpty else { fatalError("there is no library in \(libraries)") }
      return seeds
    } catch { fatalError("\(error)") }
  }()

  /// Writes an item to calibrate with, as x.npy in a new folder; nil for a network that takes no such file.
  private static func numbers(for graph: Graph) throws -> String? {
    guard graph.inputs.count == 1, graph.type(of: graph.inputs[0]).dtype == .float32 else {
      return nil
    }
    let shape = try graph.type(of: graph.inputs[0]).shape.extents(batch: 1)
    let folder = FileManager.default.temporaryDirectory.appending(path: "\(UUID())").path
    let elements = (0..<shape.reduce(1, *)).map { Float($0 % 7) - 3 }
    try TensorFiles.write(["x": try Tensor(shape: shape, elements: elements)], to: folder)
    return folder
  }

  /// Compiles each of `models`: `DIR/NAME` becomes the seed, and the code goes to
  /// `$GRAFT_FUZZ_LIBRARIES`, numbered in this order.
  static func make(_ models: ArraySlice<String>, in folder: String) throws {
    for (index, model) in models.enumerated() {
      let name = URL(filePath: model).deletingPathExtension().lastPathComponent
      let bundle = FileManager.default.temporaryDirectory.appending(path: "\(UUID()).graft").path
      defer { try? FileManager.default.removeItem(atPath: bundle) }
      var options = Compiler.Options()
      let graph = try Compiler().load(model).graph
      if let output = graph.outputs.first, graph.type(of: output.value).shape.rank == 2,
        let classes = graph.type(of: output.value).shape[1].constant
      {
        options.labels = (0..<classes).map { "class \($0)" }
      }
      options.preprocessing = index.isMultiple(of: 2) ? "imagenet" : "cifar10"
      do { try Compiler(options).compile(model, to: bundle) } catch let error as GraftError
        where error.kind == .invalidArgument
      {
        // Its input is no square picture.
        options.preprocessing = nil
        try Compiler(options).compile(model, to: bundle)
      }
      if index % 3 == 2, let data = try numbers(for: graph) {
        defer { try? FileManager.default.removeItem(atPath: data) }
        options.quantization = QuantizationOptions(calibrationData: data + "/x.npy")
        try Compiler(options).compile(model, to: bundle)
      }
      let image = try BundleImage(seed: UInt8(index), readingFrom: bundle)
      try Data(image.bytes).write(to: URL(filePath: folder).appending(path: name))
      let library = try Data(contentsOf: URL(filePath: "\(bundle)/\(BundleLayout.library)"))
      let number = index < 10 ? "0\(index)" : "\(index)"
      try library.write(
        to: URL(filePath: environment["GRAFT_FUZZ_LIBRARIES"] ?? "")
          .appending(path: "\(number)-\(name).so"))
    }
  }
}

@main
enum Fuzzer {
  /// `--make-seeds DIR MODEL…`, or libFuzzer's own arguments.
  static func main() throws {
    let arguments = CommandLine.arguments
    if arguments.count > 3, arguments[1] == "--make-seeds" {
      return try Seed.make(arguments[3...], in: arguments[2])
    }
    Fuzzing.run(testOneInput)
  }
}
