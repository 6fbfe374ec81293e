// Files of saved state, rewritten by another hand: what still means the same is taken, whatever does not
// fit is refused with its reason and changes nothing.

import Foundation
import GraftDiagnostics
import GraftRuntime
import GraftTesting
import Testing

@Suite struct SavedStateTests {
  /// A safetensors file taken apart.
  private struct SavedFile {
    var header: [String: Any]
    var data: Data

    init(_ path: String) throws {
      let bytes = try Data(contentsOf: URL(filePath: path))
      let length = bytes.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
      header = try #require(
        try JSONSerialization.jsonObject(with: bytes.dropFirst(8).prefix(length)) as? [String: Any])
      data = Data(bytes.dropFirst(8 + length))
    }

    func write(to path: String) throws {
      // Keys come out in another order than they were in, slashes with a backslash.
      try Self.write(JSONSerialization.data(withJSONObject: header), data, to: path)
    }

    static func write(_ text: Data, _ data: Data, to path: String) throws {
      let length = (0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) }
      try (Data(length) + text + data).write(to: URL(filePath: path))
    }

    mutating func change(_ name: String, _ key: String, _ value: Any?) {
      var entry = header[name] as? [String: Any] ?? [:]
      entry[key] = value
      header[name] = entry
    }
  }

  private func withSavedFile(
    _ body: (_ file: SavedFile, _ trainer: LoadedTrainer, _ path: String) throws -> Void
  ) throws {
    try withTemporaryFolder { folder in
      let fixture = try TrainingFixture(in: folder)
      let trainer = try fixture.trainer()
      for call in fixture.numbers.calls.prefix(4) { _ = try fixture.numbers.step(trainer, call) }
      try trainer.save(to: folder + "/saved")
      try body(try SavedFile(folder + "/saved"), fixture.trainer(), folder + "/changed")
    }
  }

  @Test func anotherOrderMeansTheSame() throws {
    try withSavedFile { saved, trainer, path in
      var file = saved
      // The data of two tensors change places, and with them their offsets.
      let weight = file.data.prefix(24)
      let bias = file.data.dropFirst(24).prefix(8)
      file.data = bias + weight + file.data.dropFirst(32)
      file.change("bias", "data_offsets", [0, 8])
      file.change("weight", "data_offsets", [8, 32])
      file.header["__metadata__"] = (file.header["__metadata__"] as? [String: String])?
        .merging(["format": "pt", "of others \u{1F600}": "\u{e9}"]) { $1 }
      try file.write(to: path)
      try trainer.load(from: path)
      #expect(
        try trainer.state(0).withUnsafeBytes { Data($0) } == Data(weight)
          && trainer.state(1).withUnsafeBytes { Data($0) } == Data(bias))
      #expect(try trainer.progress().steps == 4)
    }
  }

  @Test func whatDoesNotFitIsRefused() throws {
    try withSavedFile { saved, trainer, path in
      let before = try TrainingFixture.bytes(of: trainer)
      func expect(
        _ reason: String, sourceLocation: Testing.SourceLocation = #_sourceLocation,
        _ change: (inout SavedFile) throws -> Void
      ) throws {
        var file = saved
        try change(&file)
        try file.write(to: path)
        expectRefusal(reason, trainer, path, sourceLocation)
      }
      try expect("\"weight\": it has another shape") { $0.change("weight", "shape", [3, 2]) }
      try expect("\"weight\": it has another shape") { $0.change("weight", "shape", [2, 3, 1]) }
      try expect("\"weight\": it has another shape") { $0.change("weight", "shape", [2]) }
      try expect("\"bias\": it has another element type") { $0.change("bias", "dtype", "F64") }
      try expect("\"bias\": it is described in part only") { $0.change("bias", "dtype", nil) }
      try expect("\"bias\": it is described by other keys") { $0.change("bias", "more", 1) }
      try expect("\"bias\": it lies outside") { $0.change("bias", "data_offsets", [4, 8]) }
      try expect("\"bias\": it lies outside") { $0.change("bias", "data_offsets", [8, 0]) }
      try expect("\"bias\": it lies outside") {
        $0.change("bias", "data_offsets", [1 << 60, (1 << 60) + 8])
      }
      try expect("\"bias\": its header has a number") {
        $0.change("bias", "data_offsets", [-8, 0])
      }
      try expect("leave holes, or share bytes") { $0.change("bias", "data_offsets", [0, 8]) }
      try expect("leave holes, or share bytes") { $0.data.append(contentsOf: [0, 0, 0, 0]) }
      try expect("\"bias\": it is missing") { $0.header["bias"] = nil }
      try expect("\"more\": the network has no such tensor") {
        $0.header["more"] = $0.header["bias"]
      }
      try expect("the checksum differs") { $0.data[$0.data.startIndex + 5] ^= 1 }
      try expect("lack the counters") { $0.header["__metadata__"] = nil }
      try expect("another version") { $0.change("__metadata__", "graft.training_state", "2") }
      try expect("not those that save writes") {
        $0.change("__metadata__", "graft.fletcher64", nil)
      }
      for number in ["", "-1", "1x", "01", "18446744073709551616"] {
        try expect("a counter in its header is no number") {
          $0.change("__metadata__", "graft.updates", number)
        }
      }
      #expect(try TrainingFixture.bytes(of: trainer) == before)
      #expect(try trainer.progress().steps == 0)
    }
  }

  @Test func damagedTextIsRefused() throws {
    try withSavedFile { saved, trainer, path in
      let text = String(
        decoding: try JSONSerialization.data(withJSONObject: saved.header), as: UTF8.self)
      func expect(
        _ reason: String, _ changed: String,
        sourceLocation: Testing.SourceLocation = #_sourceLocation
      ) throws {
        try SavedFile.write(Data(changed.utf8), saved.data, to: path)
        expectRefusal(reason, trainer, path, sourceLocation)
      }
      let deep = String(repeating: "[", count: 100_000)
      try expect("not the JSON", deep)
      try expect("not the JSON", "")
      try expect("not the JSON", "{\"bias\":\(deep)")
      try expect("goes on after its end", text + "{}")
      try expect("ends within a string", String(text.dropLast(text.count - 5)))
      try expect("bad escape", "{\"\\x\":{}}")
      try expect("bad escape", "{\"\\u00g0\":{}}")
      try expect("half a character", "{\"\\ud800\":{}}")
      try expect("half a character", "{\"\\udc00\":{}}")
      try expect("half a character", "{\"\\ud800\\u0041\":{}}")
      try expect("or a zero", "{\"\\u0000\":{}}")
      try expect("control character", "{\"a\nb\":{}}")
      let bias = String(
        decoding: try JSONSerialization.data(withJSONObject: saved.header["bias"] ?? [:]),
        as: UTF8.self)
      try expect("it is there twice", String(text.dropLast()) + ",\"bias\":\(bias)}")
      try expect("no such tensor", "{\"" + String(repeating: "n", count: 5000) + "\":{}}")

      try Data([255, 255, 255, 255, 255, 255, 255, 127]).write(to: URL(filePath: path))
      expectRefusal("header is longer than the file", trainer, path)
      try Data([1, 2, 3]).write(to: URL(filePath: path))
      expectRefusal("shorter than the length of its header", trainer, path)
    }
  }

  private func expectRefusal(
    _ reason: String, _ trainer: LoadedTrainer, _ path: String,
    _ sourceLocation: Testing.SourceLocation = #_sourceLocation
  ) {
    do {
      try trainer.load(from: path)
      Issue.record("loaded, expected: \(reason)", sourceLocation: sourceLocation)
    } catch let error as GraftError {
      #expect(
        error.kind == .invalidData && error.message.contains(reason),
        "\(error.message), expected: \(reason)", sourceLocation: sourceLocation)
    } catch {
      Issue.record(error, sourceLocation: sourceLocation)
    }
  }
}
