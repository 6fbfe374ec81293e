// Arrays as NumPy saves them (tools/make-data-fixtures), what is said of those that are not read, and
// files grown row by row.

import Foundation
import GraftData
import GraftDiagnostics
import GraftTesting
import Testing

@Suite struct NPYTests {
  static func path(_ name: String) -> String {
    Fixture.all.appendingPathComponent("arrays/\(name).npy").path
  }

  static func bytes(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: path(name))))
  }

  static let signed: [Float] = [0, 1, 2, -1, -2, 100]
  static let unsigned = signed.map(abs)

  @Test(arguments: [
    ("float16", signed), ("float32", signed), ("float64", signed), ("int8", signed),
    ("int16", signed), ("int32", signed), ("int64", signed), ("version-2", signed),
    ("version-3", signed), ("uint8", unsigned),
    ("uint16", unsigned), ("uint32", unsigned), ("uint64", unsigned), ("bool", [0, 1, 1, 0, 0, 1]),
  ])
  func readsWhatNumPySaves(name: String, values: [Float]) throws {
    let array = try NPYArray(contentsOf: Self.path(name))
    #expect(array.shape == [2, 3])
    #expect(array.floats() == values)
    if array.element.isInteger { #expect(try array.integers() == values.map { Int($0) }) }
    let file = try NPYFile(Self.path(name))
    #expect(file.rowCount == 2 && file.rowShape == [3])
    #expect(try file.floats(rows: 1..<2) == Array(values[3...]))
    #expect(try NPYArray(decoding: array.encoded()) == array)
    expectError(.invalidArgument, containing: "rows 1..<3 of an array that has 2") {
      _ = try file.floats(rows: 1..<3)
    }
  }

  @Test("Bytes are NumPy's own", arguments: ["float32", "int64", "scalar", "empty", "vector"])
  func writesWhatNumPyWrites(name: String) throws {
    // NumPy leaves more room for the first axis to grow, hence the elements and the text alone.
    let theirs = try Self.bytes(name)
    let ours = try NPYArray(decoding: theirs).encoded()
    func text(_ bytes: [UInt8]) -> String {
      String(decoding: bytes.dropFirst(10).prefix { $0 != 10 }, as: UTF8.self)
        .trimmingCharacters(in: .whitespaces)
    }
    #expect(text(ours) == text(theirs))
    #expect(try NPYArray(decoding: ours) == NPYArray(decoding: theirs))
    let end = try #require(ours.firstIndex(of: 10))
    #expect((end + 1).isMultiple(of: 64))
  }

  @Test func readsArraysWithoutAxesOrItems() throws {
    let scalar = try NPYArray(contentsOf: Self.path("scalar"))
    #expect(scalar.shape == [] && scalar.floats() == [2.5])
    let empty = try NPYArray(contentsOf: Self.path("empty"))
    #expect(empty.shape == [0, 3] && empty.floats() == [])
  }

  @Test(arguments: [
    ("big-endian", "the elements \">f4\" are big-endian"),
    ("fortran", "is stored in Fortran order"),
    ("complex64", "element type \"<c8\" is not supported"),
    ("structured", "malformed"),
  ])
  func refusesByName(name: String, part: String) {
    expectError(.invalidData, containing: "\(name).npy: ", part) {
      _ = try NPYFile(Self.path(name))
    }
  }

  static func file(_ header: String, elements: Int = 24, version: UInt8 = 1) -> [UInt8] {
    let length = header.utf8.count
    return [0x93] + Array("NUMPY".utf8) + [version, 0, UInt8(length & 255), UInt8(length >> 8)]
      + Array(header.utf8) + [UInt8](repeating: 0, count: elements)
  }

  @Test(arguments: [
    (
      "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }",
      "24 bytes of elements, but shape [3, 4] of <f4 needs 48"
    ),
    (
      "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }",
      "24 bytes of elements, but shape [3]"
    ),
    (
      "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
      "impossible shape"
    ),
    (
      "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807,), }",
      "impossible shape"
    ),
    (
      "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
      "impossible size"
    ),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "malformed"),
    ("{'descr': '<f4', 'fortran_order': False, }", "must have descr, fortran_order and shape"),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'x': True}", "nothing else"),
    ("{'descr': '<f4', 'descr': '<f4', 'shape': (6,), }", "malformed"),
    ("{'descr': '<f4", "malformed"), ("", "malformed"), ("{'shape': ((((((", "malformed"),
  ])
  func refusesHostileHeaders(header: String, part: String) {
    expectError(.invalidData, containing: part) {
      _ = try NPYArray(decoding: Self.file(header))
    }
  }

  @Test func acceptsOtherSpellings() throws {
    let array = try NPYArray(
      decoding: Self.file("{\"shape\":(2L,3),'fortran_order':False,'descr':'<f4'}\n"))
    #expect(array.shape == [2, 3])
  }

  @Test func refusesWhatIsNoArray() throws {
    expectError(.invalidData, containing: "not a NumPy file") {
      _ = try NPYArray(decoding: Array("hello world, this is no array".utf8))
    }
    expectError(.invalidData, containing: "version 9") {
      _ = try NPYArray(decoding: Self.file("{}", version: 9))
    }
    let whole = try Self.bytes("int64")
    for length in 0..<whole.count {
      let part = length < 10 ? "not a NumPy file" : length < 128 ? "its header" : "is truncated"
      expectError(.invalidData, containing: part) {
        _ = try NPYArray(decoding: Array(whole.prefix(length)))
      }
    }
    expectError(.inputOutput, containing: "missing.npy: cannot be opened: No such file") {
      _ = try NPYFile(Self.path("missing"))
    }
    expectError(.invalidData, containing: "float32.npy", "expected integers") {
      _ = try NPYFile(Self.path("float32")).integers(rows: 0..<1)
    }
  }

  @Test func survivesRandomDamage() throws {
    var random = SplitMix(seed: 11)
    let whole = try Self.bytes("float32")
    for _ in 0..<2000 {
      var bytes = whole
      for _ in 0..<Int.random(in: 1...5, using: &random) {
        bytes[Int.random(in: 0..<100, using: &random)] = .random(in: 0...255, using: &random)
      }
      do { #expect(try NPYArray(decoding: bytes).floats().count <= 24) } catch is GraftError {}
    }
  }

  @Test func growsByRows() throws {
    try withTemporaryFolder { folder in
      let writer = try NPYWriter(folder + "/x.npy", element: .float32, rowShape: [2, 2])
      for row in 0..<3 { try writer.append((0..<4).map { Float(row * 4 + $0) }) }
      try writer.append([Float](repeating: 7, count: 8))
      expectError(.inconsistency, containing: "3 values") {
        try writer.append([1, 2, 3] as [Float])
      }
      #expect(!FileManager.default.fileExists(atPath: folder + "/x.npy"))
      try writer.finish()
      let array = try NPYArray(contentsOf: folder + "/x.npy")
      #expect(array.shape == [5, 2, 2])
      #expect(array.floats() == (0..<12).map { Float($0) } + [Float](repeating: 7, count: 8))
      let labels = try NPYWriter(folder + "/y.npy", element: .int64, rowShape: [])
      try labels.append([3, 1, 4])
      try labels.finish()
      #expect(try NPYArray(contentsOf: folder + "/y.npy").integers() == [3, 1, 4])
      // One that is not finished leaves what stood there.
      do {
        let other = try NPYWriter(folder + "/y.npy", element: .int64, rowShape: [])
        try other.append([1])
      }
      #expect(try NPYArray(contentsOf: folder + "/y.npy").integers() == [3, 1, 4])
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder).count == 2)
    }
  }

  @Test func namesFilesForAnyTensor() {
    #expect(TensorFileName.npy("input.1") == "input.1.npy")
    #expect(TensorFileName.npy("a/b\\ñ") == "a%2Fb\\ñ.npy")
    #expect(TensorFileName.npy("../x\n%") == "%2E.%2Fx%0A%25.npy")
    #expect(TensorFileName.npy("") == "%.npy")
    let long = String(repeating: "é", count: 5000)
    #expect(TensorFileName.npy(long + "a") != TensorFileName.npy(long + "b"))
    #expect(TensorFileName.npy(long).utf8.count < 255)
  }
}
