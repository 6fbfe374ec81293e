// y.npy in the forms that people save classes in, and what is said of what is none. The bytes are written
// here, from NumPy's description of its format.

import Foundation
import GraftData
import GraftDiagnostics
import Testing

@Suite struct TensorTargetsTests {
  private static let input = TensorSpecification(name: "x", shape: [2])

  /// A .npy file of version 1.0.
  private static func npy(_ type: String, _ shape: [Int], _ bytes: [UInt8]) -> [UInt8] {
    let extents = shape.map { "\($0)," }.joined()
    let text = "{'descr': '\(type)', 'fortran_order': False, 'shape': (\(extents)), }"
    let header = text + String(repeating: " ", count: 117 - text.count) + "\n"
    return [0x93] + Array("NUMPY".utf8) + [1, 0, 118, 0] + Array(header.utf8) + bytes
  }

  private static func bytes<Value: BitwiseCopyable>(_ values: [Value]) -> [UInt8] {
    values.withUnsafeBytes { Array($0) }
  }

  /// Opens a folder of as many items as there are answers.
  private static func open(
    _ y: [UInt8], items: Int = 3, classes: Int? = nil, x: [Float]? = nil
  ) throws -> TensorFolder {
    try withTemporaryFolder { folder in
      let values = x ?? (0..<items * 2).map { Float($0) }
      try write(npy("<f4", [items, 2], bytes(values)), to: "x.npy", in: folder)
      try write(y, to: "y.npy", in: folder)
      return try TensorFolder(folder, inputs: [input], classCount: classes)
    }
  }

  private static let forms: [(name: String, file: [UInt8])] = [
    ("|i1", npy("|i1", [3], bytes([2, 0, 1] as [Int8]))),
    ("|u1", npy("|u1", [3], bytes([2, 0, 1] as [UInt8]))),
    ("<i2", npy("<i2", [3], bytes([2, 0, 1] as [Int16]))),
    ("<u2", npy("<u2", [3], bytes([2, 0, 1] as [UInt16]))),
    ("<i4", npy("<i4", [3], bytes([2, 0, 1] as [Int32]))),
    ("<u4", npy("<u4", [3], bytes([2, 0, 1] as [UInt32]))),
    ("<u8", npy("<u8", [3], bytes([2, 0, 1] as [UInt64]))),
    ("<f4", npy("<f4", [3], bytes([2, 0, 1] as [Float]))),
    ("<f8", npy("<f8", [3], bytes([2, 0, 1] as [Double]))),
    ("<i8 [N, 1]", npy("<i8", [3, 1], bytes([2, 0, 1] as [Int64]))),
    ("one-hot", npy("<f4", [3, 3], bytes([0, 0, 1, 1, 0, 0, 0, 1, 0] as [Float]))),
    ("one-hot |b1", npy("|b1", [3, 3], [0, 0, 1, 1, 0, 0, 0, 1, 0])),
    ("one-hot [N, 1, C]", npy("|u1", [3, 1, 3], [0, 0, 1, 1, 0, 0, 0, 1, 0])),
  ]

  @Test(arguments: forms.map(\.name)) func understands(form: String) throws {
    let file = try #require(Self.forms.first { $0.name == form }).file
    let data = try Self.open(file)
    #expect((0..<3).map(data.label) == [2, 0, 1])
    #expect(data.classCount == 3)
  }

  @Test func columnsCountWhereNoItemIsOfTheLastClass() throws {
    let data = try Self.open(Self.npy("|u1", [1, 4], [0, 1, 0, 0]), items: 1)
    #expect(data.classCount == 4)
  }

  @Test func namesRowAndValue() throws {
    func refuses(_ y: [UInt8], classes: Int? = nil, _ parts: String, _ more: String = "y.npy") {
      expectError(.invalidData, containing: parts, more) { _ = try Self.open(y, classes: classes) }
    }
    let fromOne = Self.npy("<i8", [3], Self.bytes([1, 3, 2] as [Int64]))
    refuses(
      fromOne, classes: 3, "row 1 has the class 3; the 3 classes are 0 … 2",
      "If the labels start at 1")
    refuses(
      Self.npy("<u8", [3], Self.bytes([0, .max, 1] as [UInt64])), classes: 3, "row 1 has the class")
    refuses(
      Self.npy("<f4", [3], Self.bytes([0, 1, 2.5] as [Float])), "row 2 is 2.5, which is not a class"
    )
    refuses(Self.npy("<f8", [3], Self.bytes([0, .nan, 2] as [Double])), "row 1 is nan")
    refuses(
      Self.npy("<f4", [3, 2], Self.bytes([0, 1, 0.5, 0.5, 1, 0] as [Float])),
      "row 1 is [0.5, 0.5], which is not one-hot")
    refuses(Self.npy("|u1", [3, 2], [0, 1, 1, 1, 1, 0]), "row 1 is [1.0, 1.0]")
    refuses(
      Self.npy("|u1", [3, 2], [0, 1, 1, 0, 1, 0]), classes: 5,
      "one-hot rows of 2 columns, but there are 5 classes")
    refuses(Self.npy("|u1", [2], [0, 1]), "2 labels (shape [2]), but 3 items in", "x.npy")
    refuses(
      Self.npy("|u1", [3, 2, 2], [UInt8](repeating: 0, count: 12)), "is neither N class indices")
  }

  @Test(arguments: [Float.nan, .infinity]) func refusesInputsThatAreNoNumbers(value: Float) throws {
    let x: [Float] = [0, 1, 2, 3, 4, value]
    try withTemporaryFolder { folder in
      try write(Self.npy("<f4", [3, 2], Self.bytes(x)), to: "x.npy", in: folder)
      try write(Self.npy("|u1", [3], [0, 1, 0]), to: "y.npy", in: folder)
      let data = try TensorFolder(folder, inputs: [Self.input])
      let loader = try BatchLoader(
        data, feeding: [Self.input], preprocessing: nil, batchSize: 2, threads: 2)
      _ = try loader.next()
      expectError(.invalidData, containing: "x.npy: row 2 has the value \(value) at [1]") {
        _ = try loader.next()
      }
    }
  }

  @Test func demandsAnswersWhereTheyAreNeeded() throws {
    try withTemporaryFolder { folder in
      try write(Self.npy("<f4", [1, 2], Self.bytes([1, 2] as [Float])), to: "x.npy", in: folder)
      expectError(.invalidData, containing: "y.npy: there is no such file") {
        _ = try TensorFolder(folder, inputs: [Self.input])
      }
      #expect(try TensorFolder(folder, inputs: [Self.input], answers: .none).count == 1)
    }
  }
}
