import Foundation
import GraftDiagnostics
import GraftIR
import GraftTesting
import Testing

@testable import GraftONNX

@Suite("Tensors and where their elements lie")
struct TensorLoaderTests {
  /// The data of a TensorProto, which stands alone in a model.
  private func load(
    _ shape: [Int], type: Int, _ data: [UInt8], path: String = "test.onnx"
  ) throws -> TensorData {
    var model = ModelFile()
    model.initializer("t", shape, type: type, data: data)
    let file = MemoryBytes(model.bytes)
    var loader = TensorLoader(file: file, path: path)
    return try loader.data(of: try OpenModel(reading: file).model.graph.initializers[0])
  }

  private func message(_ shape: [Int], type: Int, _ data: [UInt8]) -> String {
    do {
      _ = try load(shape, type: type, data)
      return "accepted"
    } catch { return "\(error)" }
  }

  @Test("each typed field gives its elements")
  func typedFields() throws {
    let floats = Wire.bytes(4, Wire.littleEndian([Float(1.5), -2].map(\.bitPattern)))
    #expect(try load([2], type: 1, floats).floats() == [1.5, -2])
    let doubles = Wire.bytes(10, Wire.littleEndian([1.25, -3].map(\.bitPattern)))
    #expect(try load([2], type: 11, doubles).doubles() == [1.25, -3])
    let minusOne = Wire.varint(UInt64(bitPattern: -1))
    #expect(try load([2], type: 7, Wire.bytes(7, [7] + minusOne)).integers() == [7, -1])
    #expect(try load([2], type: 6, Wire.bytes(5, [7] + minusOne)).integers() == [7, -1])
    #expect(try load([1], type: 3, Wire.bytes(5, minusOne)).integers() == [-1])
    #expect(try load([2], type: 9, Wire.bytes(5, [0, 1])).integers() == [0, 1])
    #expect(try load([1], type: 13, Wire.bytes(11, [9])).integers() == [9])
    #expect(try load([1], type: 12, Wire.bytes(11, [9])).integers() == [9])
    // 0x3C00 is 1 in IEEE half precision, 0x3F80 in bfloat16.
    #expect(try load([1], type: 10, Wire.bytes(5, Wire.varint(0x3C00))).floats() == [1])
    #expect(try load([1], type: 16, Wire.bytes(5, Wire.varint(0x3F80))).floats() == [1])
  }

  @Test("a scalar has no extents, and an empty tensor needs no data")
  func extremes() throws {
    #expect(try load([], type: 7, Wire.bytes(7, [3])).integers() == [3])
    #expect(try load([0, 4], type: 1, []).floats() == [])
  }

  @Test("what does not fit is refused with both numbers")
  func refused() {
    #expect(message([3], type: 1, Wire.bytes(9, [1, 2, 3, 4])).contains("needs 12 bytes, found 4"))
    #expect(message([3], type: 7, Wire.bytes(7, [1, 2])).contains("lists 2 elements"))
    #expect(message([1], type: 7, Wire.bytes(5, [1])).contains("not for INT64"))
    #expect(message([1], type: 2, Wire.bytes(5, Wire.varint(256))).contains("256 does not fit"))
    #expect(message([-1], type: 1, []).contains("include -1"))
    #expect(message([1], type: 1, []).contains("it has no data"))
    #expect(message([1], type: 8, Wire.text(6, "text")).contains("STRING"))
    #expect(message([1], type: 17, Wire.bytes(9, [1])).contains("FLOAT8E4M3FN"))
    #expect(message([1 << 20, 1 << 20], type: 1, Wire.bytes(9, [1])).contains("too large"))
    #expect(message([1 << 62, 4], type: 1, Wire.bytes(9, [1])).contains("too large"))
    #expect(
      message([1], type: 1, Wire.bytes(9, [0, 0, 0, 0]) + Wire.float(4, 1))
        .contains("more than one field"))
  }

  // MARK: External data

  /// A folder with `models/weights.bin` of eight bytes and `outside.bin` beside `models`.
  private func withFolder(_ body: (URL) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appending(
      path: "graft-\(UUID().uuidString)")
    let models = folder.appending(path: "models")
    try FileManager.default.createDirectory(
      at: models.appending(path: "sub"), withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let data = Data(Wire.littleEndian([Float(1), 2].map(\.bitPattern)))
    try data.write(to: models.appending(path: "weights.bin"))
    try data.write(to: models.appending(path: "sub/weights.bin"))
    try data.write(to: folder.appending(path: "outside.bin"))
    for (link, target) in [("inside", "weights.bin"), ("leak", "../outside.bin"), ("up", "..")] {
      try FileManager.default.createSymbolicLink(
        atPath: models.appending(path: link).path, withDestinationPath: target)
    }
    try body(models)
  }

  private func external(
    _ folder: URL, _ entries: [(String, String)], count: Int = 1
  ) -> Result<[Float], any Error> {
    Result {
      try load(
        [count], type: 1, ModelFile.external(entries), path: folder.appending(path: "m.onnx").path
      ).floats()
    }
  }

  @Test("external data is read in place, from the folder and what is below it")
  func externalData() throws {
    try withFolder { folder in
      let second = try external(folder, [("location", "weights.bin"), ("offset", "4")]).get()
      #expect(second == [2])
      let all = [("location", "sub/weights.bin"), ("offset", "0"), ("length", "8")]
      #expect(try external(folder, all, count: 2).get() == [1, 2])
      #expect(try external(folder, [("location", "inside")]).get() == [1])
    }
  }

  @Test(
    "external data that leaves the folder or does not fit is refused",
    arguments: [
      ([("location", "/etc/passwd")], "absolute path"),
      ([("location", "../outside.bin")], "contains \"..\""),
      ([("location", "sub/../../outside.bin")], "contains \"..\""),
      ([("location", "leak")], "symbolic link to a file outside"),
      ([("location", "up/outside.bin")], "symbolic link to a file outside"),
      ([("location", "none.bin")], "No such file"),
      ([("location", "sub")], "is a folder"),
      ([("location", "weights.bin"), ("offset", "6")], "too short: it has 8 bytes, 4 are needed"),
      ([("location", "weights.bin"), ("offset", "9223372036854775807")], "too short"),
      ([("location", "weights.bin"), ("offset", "-4")], "expected a number of bytes"),
      ([("location", "weights.bin"), ("length", "8")], "has 8 bytes, expected 4"),
      ([("offset", "0")], "has no location"),
    ] as [([(String, String)], String)])
  func externalRefused(_ entries: [(String, String)], _ expected: String) throws {
    try withFolder { folder in
      switch external(folder, entries) {
      case .success(let values): Issue.record("read \(values) from \(entries)")
      case .failure(let error): #expect("\(error)".contains(expected))
      }
    }
  }
}
