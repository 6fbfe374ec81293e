// Names that a file may hold and C, a shell, a path or a terminal may not: networks that consist of them
// are compiled and run by the real executable. A kernel of 1 × 1 whose weights are all w makes
// w · (sum over the channels), so the numbers to expect need no other program.

import Foundation
import GraftTesting
import Testing

@Suite("Networks with hostile names compile and run")
struct HostileNameTests {
  static let names = [
    #"x"; system("id"); //"#, "../../etc", "a\nb", "🐈", String(repeating: "n", count: 10_000),
  ]

  /// Adds out = max(0, Σ over channels of weight · in), every name of which holds `name`.
  private func addBranch(_ name: String, weight: Float, to model: inout ModelFile) {
    model.input(name, ["N", 3, 8, 8])
    model.weights("\(name).weight", [8, 3, 1, 1], value: weight)
    model.node("Conv", [name, "\(name).weight"], ["\(name)/conv"], name: name)
    model.node("Relu", ["\(name)/conv"], ["\(name):out"], name: "\(name)\(name)")
    model.output("\(name):out", ["N", 8, 8, 8])
  }

  /// Two pictures of 3 × 8 × 8, small whole numbers, so that sums are exact in any order.
  private static let input: [Float] = (0..<384).map { (index: Int) -> Float in
    Float((index * 7) % 11 - 4)
  }

  /// What a branch makes of them: the same in each of its eight channels.
  private static func expected(weight: Float) -> [Float] {
    var result: [Float] = []
    for picture in 0..<2 {
      let planes = input[(192 * picture)...]
      let channel = (0..<64).map { (pixel: Int) -> Float in
        let start = planes.startIndex + pixel
        let sum: Float = planes[start] + planes[start + 64] + planes[start + 128]
        return max(0, weight * sum)
      }
      for _ in 0..<8 { result += channel }
    }
    return result
  }

  /// Compiles and runs `model`; the tensors that were written, by file name.
  private func outputs(_ model: ModelFile, inputs: [String], in scratch: Scratch) throws -> [String:
    NPY]
  {
    let path = try scratch.write(model.bytes, "model.onnx")
    let bundle = scratch.url("model.graft").path
    let compiled = try GraftProgram.run(["compile", path, "-o", bundle, "--tune", "off"])
    try #require(compiled.status == 0, "\(compiled.errors)")
    #expect(try GraftProgram.run(["verify", bundle]).status == 0)
    let x = try scratch.write(NPY(shape: [2, 3, 8, 8], values: Self.input).bytes, "x.npy")
    let before = scratch.listing
    let folder = scratch.url("out")
    var arguments = ["run", bundle, "--output-dir", folder.path]
    for name in inputs { arguments += ["--input", "\(name)=\(x)"] }
    let run = try GraftProgram.run(arguments)
    try #require(run.status == 0, "\(run.errors)")
    let written = try FileManager.default.contentsOfDirectory(atPath: folder.path)
    // Nothing beside what was asked for, wherever a name points.
    #expect(scratch.listing == before.union(["out"]).union(written.map { "out/\($0)" }))
    return try Dictionary(
      uniqueKeysWithValues: written.map { ($0, try NPY(at: folder.appending(path: $0))) })
  }

  @Test("names that are code, a path, two lines, a picture or very long", arguments: names)
  func hostile(_ name: String) throws {
    let scratch = try Scratch()
    var model = ModelFile()
    model.graph = [Wire.text(2, name)]
    addBranch(name, weight: 0.5, to: &model)
    let outputs = try outputs(model, inputs: [name], in: scratch)
    #expect(outputs.count == 1)
    let output = try #require(outputs.values.first)
    #expect(output.shape == [2, 8, 8, 8])
    #expect(output.values == Self.expected(weight: 0.5))
    #expect(output.values.contains { $0 > 0 })
  }

  @Test("names that differ only in characters that C has not stay apart")
  func colliding() throws {
    let scratch = try Scratch()
    let branches: [(name: String, weight: Float)] = [("a.b", 0.5), ("a/b", 2), ("a b", -3)]
    var model = ModelFile()
    for (name, weight) in branches { addBranch(name, weight: weight, to: &model) }
    let outputs = try outputs(model, inputs: branches.map(\.name), in: scratch)
    #expect(outputs.count == branches.count)
    for ((_, weight), file) in zip(branches, ["a.b:out.npy", "a%2Fb:out.npy", "a b:out.npy"]) {
      #expect(outputs[file]?.values == Self.expected(weight: weight), "\(file)")
    }
  }
}

/// NumPy's file format, version 1.0, for float32: written here without Graft's own code.
private struct NPY {
  var shape: [Int]
  var values: [Float]

  init(shape: [Int], values: [Float]) {
    self.shape = shape
    self.values = values
  }

  private static let start: [UInt8] = [0x93] + Array("NUMPY\u{1}\u{0}".utf8)

  var bytes: [UInt8] {
    let extents = shape.map { "\($0)," }.joined(separator: " ")
    var header = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(extents)), }"
    header += String(repeating: " ", count: 63 - (10 + header.utf8.count) % 64) + "\n"
    return Self.start + Wire.littleEndian([UInt16(header.utf8.count)]) + Array(header.utf8)
      + Wire.littleEndian(values.map(\.bitPattern))
  }

  init(at url: URL) throws {
    let bytes = [UInt8](try Data(contentsOf: url))
    try #require(bytes.count > 10 && bytes.starts(with: Self.start))
    let end = 10 + Int(bytes[8]) + 256 * Int(bytes[9])
    try #require(bytes.count >= end)
    let header = String(decoding: bytes[10..<end], as: UTF8.self)
    try #require(header.contains("'descr': '<f4'") && header.contains("'fortran_order': False"))
    let tuple = try #require(header.firstMatch(of: /'shape': \(([0-9, ]*)\)/)).1
    shape = tuple.split(whereSeparator: { ", ".contains($0) }).compactMap { Int($0) }
    try #require(bytes.count == end + 4 * shape.reduce(1, *))
    values = stride(from: end, to: bytes.count, by: 4).map { (index: Int) -> Float in
      let bits = bytes[index..<(index + 4)].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
      return Float(bitPattern: bits)
    }
  }
}
