// Elements of every type at inputs and outputs, moved, cast, compared and used as indices. Expected are the
// inputs' own bytes, whole numbers that every type holds, and rows of a table.

import Foundation
import Graft
import GraftData
import GraftIR
import GraftTesting
import Testing

@Suite struct ElementTypeTests {
  /// Types with ONNX's number for each.
  private static let types: [(dtype: DataType, code: Int)] = [
    (.float32, 1), (.uint8, 2), (.int8, 3), (.int32, 6), (.int64, 7), (.bool, 9), (.float16, 10),
    (.float64, 11), (.bfloat16, 16),
  ]

  private func compile(_ model: ModelFile, in folder: String) throws -> ModelBundle {
    try Data(model.bytes).write(to: URL(filePath: folder + "/net.onnx"))
    try Compiler().compile(folder + "/net.onnx", to: folder + "/net.graft")
    return try ModelBundle(opening: folder + "/net.graft")
  }

  @Test func movedAndCast() throws {
    var model = ModelFile()
    var inputs: [String: Tensor] = [:]
    let numbers: [Float] = [0, 1, 2, 100, 5, 77]
    for (dtype, code) in Self.types {
      let name = dtype.rawValue
      model.input(name, ["N", 3], type: code)
      model.node("Identity", [name], ["same \(name)"])
      model.output("same \(name)", ["N", 3], type: code)
      model.node(
        "Transpose", [name], ["turned \(name)"],
        attributes: [ModelFile.attribute("perm", ints: [0, 1])])
      model.node(
        "Cast", ["turned \(name)"], ["float \(name)"],
        attributes: [ModelFile.attribute("to", int: 1)])
      model.node("Relu", ["float \(name)"], ["relu \(name)"])
      model.output("relu \(name)", ["N", 3], type: 1)
      model.node(
        "Cast", ["relu \(name)"], ["back \(name)"],
        attributes: [ModelFile.attribute("to", int: code)])
      model.output("back \(name)", ["N", 3], type: code)
      inputs[name] = try Tensor(shape: [2, 3], elements: numbers)
      if dtype == .bool {
        inputs[name] = try Tensor(.bool, shape: [2, 3], bytes: [0, 1, 1, 0, 1, 0])
      }
      inputs[name] = try #require(try inputs[name]?.converted(toFloating: dtype))
    }
    try withTemporaryFolder { folder in
      let bundle = try compile(model, in: folder)
      for mode in [TensorRunner.Mode.compiled(threads: 2), .reference] {
        let outputs = try TensorRunner(bundle, mode: mode).run(inputs).outputs
        for (name, input) in inputs {
          #expect(outputs["same \(name)"] == input)
          #expect(outputs["relu \(name)"]?.elements == input.elements)
          #expect(outputs["back \(name)"] == input)
        }
        let files = folder + "/out"
        try TensorFiles.write(outputs, to: files)
        let again = try TensorFiles.read(["y": files + "/same f16.npy"])
        #expect(again["y"] == inputs["f16"])
      }
    }
  }

  /// Rows of a table by computed indices, negative ones from the end; the nearest for one outside.
  @Test func indices() throws {
    var model = ModelFile()
    let table = (0..<15).map { Float($0) }
    model.initializer(
      "table", [5, 3], type: 1,
      data: Wire.bytes(9, Wire.littleEndian(table.map(\.bitPattern))))
    for (name, code) in [("i64", 7), ("i32", 6)] {
      model.input(name, ["N", 2], type: code)
      model.node("Gather", ["table", name], ["rows \(name)"])
      model.output("rows \(name)", ["N", 2, 3], type: 1)
    }
    try withTemporaryFolder { folder in
      let bundle = try compile(model, in: folder)
      let session = try Session(bundle, threads: 2)
      let chosen: [Int64] = [0, -1, 3, -5, 7, -9]
      let wide = try Tensor(shape: [3, 2], elements: chosen)
      let outputs = try session.run(["i64": wide, "i32": wide.converted(to: .int32)])
      let rows = [0, 4, 3, 0, 4, 0].flatMap { table[($0 * 3)..<($0 * 3 + 3)] }
      for output in outputs.values { #expect(output.elements == rows) }
      #expect(throws: (any Error).self) {
        try session.run(["i64": Tensor(shape: [1, 2], elements: [Float(0.5), 1]), "i32": wide])
      }
    }
  }

  @Test func constantsAndNothingToRead() throws {
    var model = ModelFile()
    model.integers("shape", [3, -4])
    model.output("shape", [2], type: 7)
    try withTemporaryFolder { folder in
      let bundle = try compile(model, in: folder)
      let outputs = try Session(bundle).run([:])
      #expect(outputs["shape"] == (try Tensor(shape: [2], elements: [Int64(3), -4])))
      let path = folder + "/net.graft"
      let run = try GraftProgram.run(["run", path, "--output-dir", folder + "/out"])
      #expect(run.status == 0, "\(run.errors)")
      #expect(try NPYArray(contentsOf: folder + "/out/shape.npy").integers() == [3, -4])
    }
  }
}

extension Tensor {
  /// The same whole numbers in any type but bool.
  fileprivate func converted(toFloating dtype: DataType) throws -> Tensor {
    guard dtype != self.dtype, dtype != .bool else { return self }
    guard !dtype.isFloatingPoint else { return try converted(to: dtype) }
    let whole = try Tensor(shape: shape, elements: elements.map { Int64($0) })
    return try whole.converted(to: dtype)
  }
}
