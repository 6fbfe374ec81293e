// A test's own folder and the files that it starts from: what a run leaves there is what these tests are
// about.

import Foundation

/// A folder of a test's own, removed with the object.
final class Scratch: Sendable {
  let folder: URL

  init() throws {
    folder = FileManager.default.temporaryDirectory.appending(path: "graft-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  func url(_ name: String) -> URL { folder.appending(path: name) }

  @discardableResult
  func write(_ bytes: [UInt8], _ name: String) throws -> String {
    let url = url(name)
    try FileManager.default.createDirectory(
      at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(bytes).write(to: url)
    return url.path
  }

  /// Every file and folder below, by path.
  var listing: Set<String> {
    Set(FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String } ?? [])
  }
}

/// The top of the repository.
let repository = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent()

/// The committed end-to-end models.
let fixtures = repository.appending(path: "Tests/EndToEndTests/Fixtures")

/// The network that comes with Graft.
let resnet20 = repository.appending(path: "models/resnet20-cifar10.onnx")
