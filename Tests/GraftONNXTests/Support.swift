// What the importer's tests share: importing bytes without a file, and the message of an error.

import Foundation
import GraftDiagnostics
import GraftIR
import GraftTesting

@testable import GraftONNX

func importModel(
  _ file: ModelFile, options: ONNXImportOptions = ONNXImportOptions()
) throws -> ImportedModel {
  try ONNXImporter.importModel(from: MemoryBytes(file.bytes), path: "test.onnx", options: options)
}

/// The description of the error that importing gives; nil where it succeeds.
func importError(
  _ file: ModelFile, options: ONNXImportOptions = ONNXImportOptions()
) -> String? {
  do {
    _ = try importModel(file, options: options)
    return nil
  } catch { return "\(error)" }
}

/// The committed end-to-end models.
let fixtures = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .appending(path: "EndToEndTests/Fixtures")
