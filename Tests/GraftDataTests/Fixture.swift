// Where the fixtures stand (tools/make-image-fixtures writes them), temporary folders, and how two
// pictures or an error's message are compared.

import Foundation
import GraftData
import GraftDiagnostics
import Testing

enum Fixture {
  static let all = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Fixtures")
  static let folder = all.appendingPathComponent("images")

  static func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

  static func bytes(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: folder.appendingPathComponent(name)))
  }

  static func image(_ name: String) throws -> Image { try Image(contentsOf: path(name)) }
}

/// The greatest difference of two pictures of equal size, and the share of values that differ.
func difference(_ first: Image, _ second: Image) -> (greatest: Int, share: Double) {
  guard first.width == second.width, first.height == second.height,
    first.channels == second.channels
  else { return (256, 1) }
  let differences = zip(first.pixels, second.pixels).map { abs(Int($0) - Int($1)) }
  let unequal = differences.count { $0 > 0 }
  return (differences.max() ?? 0, Double(unequal) / Double(max(1, differences.count)))
}

/// Runs `body` in a fresh folder that is removed afterwards.
func withTemporaryFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
  let folder = FileManager.default.temporaryDirectory
    .appendingPathComponent("graft-data-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  return try body(folder.path)
}

/// Writes a file below `folder`, with the folders on its way.
func write(_ bytes: [UInt8], to name: String, in folder: String) throws {
  let file = URL(fileURLWithPath: folder).appendingPathComponent(name)
  try FileManager.default.createDirectory(
    at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
  try Data(bytes).write(to: file)
}

/// Expects a ``GraftError`` of this kind whose description contains every one of `parts`.
func expectError(
  _ kind: GraftError.Kind, containing parts: String...,
  sourceLocation: Testing.SourceLocation = #_sourceLocation, _ body: () throws -> Void
) {
  do {
    try body()
    Issue.record("no error was thrown", sourceLocation: sourceLocation)
  } catch let error as GraftError {
    #expect(error.kind == kind, "\(error)", sourceLocation: sourceLocation)
    for part in parts {
      #expect(
        error.description.contains(part), "\(error) lacks \(part)", sourceLocation: sourceLocation)
    }
  } catch {
    Issue.record("not a GraftError: \(error)", sourceLocation: sourceLocation)
  }
}
