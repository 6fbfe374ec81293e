// libFuzzer's entry for the ONNX importer: whatever the bytes, importing ends in a graph or in a
// GraftError. What imports is written again and must then import too.

import FuzzSupport
import GraftDiagnostics
import GraftIR
import GraftONNX

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  var options = ONNXImportOptions()
  options.largestFoldedBytes = 16 << 20
  guard let model = attempt(bytes, options) else { return 0 }
  var written: [UInt8] = []
  do {
    try ONNXExporter.write(model.graph, options: ONNXExportOptions(importedOpset: model.opset)) {
      written.append(contentsOf: $0)
    }
  } catch { return 0 }
  options.freesBatch = false
  guard attempt(written, options) != nil else {
    fatalError("what was exported does not import: \(failure ?? "")")
  }
  return 0
}

/// What the last import said.
nonisolated(unsafe) private var failure: String?

private func attempt(_ bytes: [UInt8], _ options: ONNXImportOptions) -> ImportedModel? {
  do {
    return try ONNXImporter.importModel(
      from: MemoryBytes(bytes), path: "/nowhere/fuzz.onnx", options: options)
  } catch let error as GraftError {
    failure = error.description
    return nil
  } catch { fatalError("not a GraftError: \(error)") }
}

@main
enum Fuzzer {
  static func main() { Fuzzing.run(testOneInput) }
}
