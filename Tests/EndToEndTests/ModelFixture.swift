// The small ONNX models of Fixtures/, each with inputs and the outputs that onnxruntime gave for them.
// tools/make-fixtures makes them.

import Foundation
import Graft
import GraftData
import GraftOps
import Testing

/// One entry of Fixtures/manifest.json.
struct ModelFixture: Codable, Sendable, CustomTestStringConvertible {
  struct File: Codable, Sendable {
    var name: String
    var file: String
  }

  var name: String
  var what: String
  var model: String
  var inputs: [File]
  var outputs: [File]
  /// Relative to the largest output; 1e-5 where the model does not ask for more room.
  var tolerance: Double?

  var testDescription: String { name }

  static let folder = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "Fixtures").path

  private struct List: Codable { var fixtures: [ModelFixture] }

  static let all: [ModelFixture] = {
    let data = FileManager.default.contents(atPath: folder + "/manifest.json") ?? Data()
    return (try? JSONDecoder().decode(List.self, from: data))?.fixtures ?? []
  }()

  static func named(_ name: String) throws -> ModelFixture {
    try #require(all.first { $0.name == name })
  }

  var modelPath: String { Self.folder + "/" + model }

  func loadInputs() throws -> [String: Tensor] { try Self.load(inputs) }
  func loadOutputs() throws -> [String: Tensor] { try Self.load(outputs) }

  private static func load(_ files: [File]) throws -> [String: Tensor] {
    var tensors: [String: Tensor] = [:]
    for entry in files {
      let array = try NPYArray(contentsOf: folder + "/" + entry.file)
      tensors[entry.name] = try Tensor(array.element, shape: array.shape, bytes: array.bytes)
    }
    return tensors
  }

  /// Records an issue for every output that is missing, has another shape or element type, or is too far away.
  /// - Parameter ofAnyType: where the outputs' element types do not count.
  func expectOutputs(
    _ found: [String: Tensor], _ how: String, ofAnyType: Bool = false,
    sourceLocation: Testing.SourceLocation = #_sourceLocation
  ) throws {
    for (name, expected) in try loadOutputs() {
      guard let output = found[name] else {
        Issue.record("\(how): no output \(name)", sourceLocation: sourceLocation)
        continue
      }
      #expect(output.shape == expected.shape, "\(how): \(name)", sourceLocation: sourceLocation)
      #expect(
        ofAnyType || output.dtype == expected.dtype, "\(how): \(name)",
        sourceLocation: sourceLocation)
      guard output.shape == expected.shape else { continue }
      let largest = expected.elements.map { abs(Double($0)) }.max() ?? 0
      let worst =
        zip(output.elements, expected.elements).map { found, expected in
          found == expected || (found.isNaN && expected.isNaN)
            ? 0 : abs(Double(found) - Double(expected))
        }.max() ?? 0
      #expect(
        worst <= (expected.dtype.isFloatingPoint ? tolerance ?? 1e-5 : 0) * max(largest, 1e-3),
        "\(how): \(name) differs by \(worst) of \(largest)", sourceLocation: sourceLocation)
    }
  }
}
