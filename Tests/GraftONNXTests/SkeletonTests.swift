import Foundation
import GraftDiagnostics
import GraftIR
import GraftTesting
import Testing

@testable import GraftONNX

private func skeleton(_ bytes: [UInt8]) throws -> Skeleton {
  try bytes.withUnsafeBytes { try Skeleton(of: $0) }
}

private func message(_ bytes: [UInt8]) -> String? {
  do {
    _ = try skeleton(bytes)
    return nil
  } catch { return "\(error)" }
}

@Suite("The look before unpacking")
struct SkeletonTests {
  @Test("raw_data becomes a reference of 16 bytes, whatever its size")
  func references() throws {
    var model = ModelFile()
    model.weights("large", [1024])
    model.weights("small", [1])
    let bytes = model.bytes
    let result = try skeleton(bytes)
    #expect(bytes.count > 4096)
    #expect(result.bytes.count < 200)

    let opened = try OpenModel(reading: MemoryBytes(bytes))
    let tensors = opened.model.graph.initializers
    try #require(tensors.count == 2)
    for (tensor, count) in zip(tensors, [4096, 4]) {
      guard case .raw(let range) = tensor.storage else {
        Issue.record("\(tensor.name) is not in place")
        continue
      }
      #expect(range.count == count)
      #expect(bytes[range].starts(with: Wire.littleEndian([Float(0.5).bitPattern])))
    }
  }

  @Test("documentation and unknown fields are left out, and unknown ones remembered")
  func dropped() throws {
    var model = ModelFile.convolution()
    let plain = try skeleton(model.bytes).bytes
    model.graph.append(Wire.text(10, String(repeating: "documentation", count: 100)))
    model.more.append(Wire.bytes(25, Wire.bytes(11, [1, 2, 3]) + Wire.text(1, "f")))
    let result = try skeleton(model.bytes)
    #expect(result.unknownFields == ["FunctionProto.11"])
    #expect(result.bytes.count < plain.count + 20)
  }

  /// A graph in an attribute of a node of a graph, and so on: three messages a level.
  private func nested(_ levels: Int) -> [UInt8] {
    // Built from the inside out by prepending heads, so that 20,000 levels take no time.
    var reversed: [UInt8] = []
    func wrap(_ field: Int) {
      let head = Wire.varint(UInt64(field) << 3 | 2) + Wire.varint(UInt64(reversed.count))
      reversed += head.reversed()
    }
    for _ in 0..<levels {
      wrap(6)
      wrap(5)
      wrap(1)
    }
    wrap(7)
    return reversed.reversed()
  }

  @Test("nesting is bounded at 100 messages, without recursion")
  func nesting() throws {
    // The model is the first message, its graph the second, and each level adds three.
    #expect(message(nested(32)) == nil)
    #expect(message(nested(33))?.contains("nested more than 100 levels deep") == true)
    #expect(message(nested(20_000))?.contains("nested more than 100 levels deep") == true)
  }

  @Test("a message that says more than the file has is told as truncated")
  func truncated() {
    let bytes = ModelFile.convolution().bytes
    for length in 1..<bytes.count {
      let cut = Array(bytes[..<length])
      // Cut exactly between two fields of the model, what is left is well-formed and lacks them.
      guard let text = message(cut) else { continue }
      #expect(text.contains("truncated"), "cut at \(length): \(text)")
    }
    #expect(message(Array(bytes[..<(bytes.count / 2)]))?.contains("truncated") == true)
  }

  @Test("a real network cut at any 4 KiB is told as truncated, and whole it is read")
  func truncatedNetwork() throws {
    let url = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "models/resnet20-cifar10.onnx")
    let bytes = [UInt8](try Data(contentsOf: url))
    let cuts = Array(stride(from: 4096, to: bytes.count, by: 4096))
    #expect(cuts.count > 250)
    for cut in cuts {
      let error = #expect(throws: GraftError.self) {
        try ONNXImporter.importModel(from: MemoryBytes(Array(bytes[..<cut])), path: url.path)
      }
      #expect(error?.kind == .invalidModel, "cut at \(cut)")
      #expect(error?.message.contains("the file is truncated") == true, "cut at \(cut): \(error)")
    }
    #expect(throws: Never.self) {
      try ONNXImporter.importModel(from: MemoryBytes(bytes), path: url.path)
    }
  }

  @Test("an inner length that leaves its message is told as damage")
  func innerLength() {
    let graph = Wire.varint(2 << 3 | 2) + Wire.varint(100) + Array("short".utf8)
    let bytes = Wire.bytes(7, graph) + Wire.text(3, String(repeating: "x", count: 200))
    #expect(message(bytes)?.contains("says 100 bytes, 5 are left in its message") == true)
  }

  @Test(
    "what protobuf-c would merge, misread or keep is refused",
    arguments: [
      ("two graphs", Wire.bytes(7, []) + Wire.bytes(7, []), "ModelProto.graph occurs twice"),
      ("a text as a number", Wire.int(2, 5), "ModelProto.producer_name has the wrong wire type"),
      ("a number as a text", Wire.text(1, "8"), "ModelProto.ir_version has the wrong wire type"),
      ("a group", [0x0B, 0x0C], "wire type 3"),
      ("field 0", [0x00, 0x00], "field number 0"),
      ("an endless varint", [0x08] + [UInt8](repeating: 0xFF, count: 12), "longer than ten bytes"),
      ("NUL in a name", Wire.bytes(7, Wire.text(2, "a\0b")), "contains a NUL"),
      ("no UTF-8", Wire.bytes(7, Wire.bytes(2, [0xFF, 0xFE])), "not UTF-8"),
      (
        "two raw_data", Wire.bytes(7, Wire.bytes(5, Wire.bytes(9, [1]) + Wire.bytes(9, [2]))),
        "TensorProto.raw_data occurs twice"
      ),
      (
        "two kinds of type",
        Wire.bytes(7, Wire.bytes(11, Wire.bytes(2, Wire.bytes(1, []) + Wire.bytes(4, [])))),
        "occurs twice"
      ),
      (
        "half a float", Wire.bytes(7, Wire.bytes(5, Wire.bytes(4, [1, 2, 3]))),
        "not a whole number of elements"
      ),
    ] as [(String, [UInt8], String)])
  func refused(_ what: String, _ bytes: [UInt8], _ expected: String) {
    #expect(message(bytes)?.contains(expected) == true, "\(what): \(message(bytes) ?? "accepted")")
  }

  @Test("more fields than allowed are refused before anything is allocated for them")
  func memory() throws {
    // Empty nodes: two bytes each here, a hundred in protobuf-c's structures.
    let bytes = Wire.bytes(7, [[UInt8]](repeating: [0x0A, 0x00], count: 1000).flatMap(\.self))
    let error = #expect(throws: GraftError.self) {
      _ = try bytes.withUnsafeBytes { try Skeleton(of: $0, fieldLimit: 1000) }
    }
    #expect(error?.message.contains("more than 1000 fields") == true)
    #expect(try bytes.withUnsafeBytes { try Skeleton(of: $0, fieldLimit: 1001) }.bytes.count > 2000)
  }

  @Test(
    "files of other kinds are named",
    arguments: [
      ([], "the file is empty"),
      (Array("PK\u{3}\u{4}archive".utf8), "zip archive"),
      (Array("version https://git-lfs.github.com/spec/v1\n".utf8), "Git LFS pointer"),
      ([0x80, 0x02, 0x8A, 0x0A], "Python pickle"),
      ([0xFF, 0xD8, 0xFF, 0xE0, 0, 16], "JPEG"),
      ([0x89, 0x50, 0x4E, 0x47, 13, 10], "PNG"),
      ([0x93] + Array("NUMPY\u{1}".utf8) + [0], "NumPy"),
      ([0x1C, 0, 0, 0] + Array("TFL3".utf8), "TensorFlow Lite"),
      ([2, 0, 0, 0, 0, 0, 0, 0] + Array("{}".utf8), "safetensors"),
      ([UInt8](repeating: 0x61, count: 257) + Array("ustar".utf8), "tar archive"),
      (Array("# A title\n\nA text.\n".utf8), "a text file that begins with \"# A title\""),
      (Array("\r\n  {\"é\": 1}".utf8), #"a text file that begins with "  {\"é\": 1}""#),
      (
        Array(String(repeating: "日本語", count: 1000).utf8),
        "a text file that begins with \"日本語日"
      ),
      ([0, 0, 0, 0], "begins with the bytes 00 00 00 00, as no ONNX model does"),
      ([0x47, 0x12, 0xFE], "begins with the bytes 47 12 fe, as no ONNX model does"),
    ] as [([UInt8], String)])
  func otherFiles(_ bytes: [UInt8], _ expected: String) {
    #expect(message(bytes)?.contains("is not an ONNX model: ") == true, "\(message(bytes) ?? "")")
    #expect(message(bytes)?.contains(expected) == true, "\(message(bytes) ?? "")")
  }

  @Test("what protobuf made of a text stays as the cause")
  func cause() throws {
    let error = #expect(throws: GraftError.self) { _ = try skeleton(Array("# A title\n".utf8)) }
    #expect(
      error?.context.first?.hasPrefix("reading it as protobuf: the file is damaged: ") == true)
  }
}
