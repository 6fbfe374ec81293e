// Weights that the file computes: what has no kernel is known after importing.

import GraftDiagnostics
import GraftIR
import GraftTesting
import Testing

@testable import GraftONNX

@Suite("Computed weights")
struct ConstantTreeTests {
  /// x [N, 3, 8, 8] through a 1 × 1 convolution by the weights `w`, which `build` computes.
  private func model(opset: Int = 17, _ build: (inout ModelFile) -> Void) -> ModelFile {
    var model = ModelFile()
    model.opsets = [("", opset)]
    model.input("x", ["N", 3, 8, 8])
    build(&model)
    model.node("Conv", ["x", "w"], ["y"], name: "conv")
    model.output("y", ["N", 2, 8, 8])
    return model
  }

  private func floats(_ model: inout ModelFile, _ name: String, _ shape: [Int], _ values: [Float]) {
    let data = Wire.bytes(9, Wire.littleEndian(values.map(\.bitPattern)))
    model.initializer(name, shape, type: 1, data: data)
  }

  private func weights(of model: ModelFile) throws -> [Float]? {
    let graph = try importModel(model).graph
    #expect(graph.nodes.map(\.opcode) == ["convolution"])
    #expect(graph.parameters.count == 1)
    return graph.parameter(named: "w").flatMap { graph[$0].parameter?.data?.floats() }
  }

  @Test("a weight normalization, with axes as an attribute and as an input")
  func weightNorm() throws {
    // Both rows have the norm 3, so g · v / |v| is v for the first and 2 · v for the second.
    for opset in [13, 18] {
      let file = model(opset: opset) {
        floats(&$0, "v", [2, 3, 1, 1], [1, 2, 2, -2, 1, 2])
        floats(&$0, "g", [2, 1, 1, 1], [3, 6])
        let inputs = opset < 18 ? ["v"] : ["v", "axes"]
        if opset >= 18 { $0.integers("axes", [1, 2, -1]) }
        let axes = opset < 18 ? [ModelFile.attribute("axes", ints: [1, 2, 3])] : []
        $0.node("ReduceL2", inputs, ["norm"], name: "norm", attributes: axes)
        $0.node("Div", ["g", "norm"], ["factor"])
        $0.node("Mul", ["v", "factor"], ["w"])
      }
      #expect(try weights(of: file) == [1, 2, 2, -4, 2, 4])
    }
  }

  @Test("standardized weights: a BatchNormalization in training mode, unread statistics")
  func standardized() throws {
    let file = model {
      floats(&$0, "v", [2, 3, 1, 1], [0, 1, 2, 4, 4, 7])
      floats(&$0, "s", [2], [2, 1])
      floats(&$0, "b", [2], [0, 1])
      floats(&$0, "zero", [2], [0, 0])
      $0.integers("rows", [1, 2, 3])
      $0.integers("back", [2, 3, 1, 1])
      $0.node("Reshape", ["v", "rows"], ["flat"])
      $0.node(
        "BatchNormalization", ["flat", "s", "b", "zero", "zero"], ["even", "m", "n"],
        attributes: [ModelFile.attribute("training_mode", int: 1)])
      $0.node("Reshape", ["even", "back"], ["w"])
    }
    // Means 1 and 5, population variances 2/3 and 2.
    let expected: [Float] = [-2.449471, 0, 2.449471, 0.292897, 0.292897, 2.414206]
    let found = try #require(try weights(of: file))
    for (left, right) in zip(found, expected) { #expect(abs(left - right) < 1e-5) }
  }

  @Test("integers of any number become weights behind a Cast")
  func integers() throws {
    let count = 300_000
    var model = ModelFile()
    model.input("x", ["N", 3, 100_000])
    model.initializer(
      "q", [3, 100_000], type: 3,
      data: Wire.bytes(9, (0..<count).map { UInt8(truncatingIfNeeded: $0) }))
    model.node("Cast", ["q"], ["w"], attributes: [ModelFile.attribute("to", int: 1)])
    model.node("Mul", ["x", "w"], ["y"])
    model.output("y", ["N", 3, 100_000])
    let graph = try importModel(model).graph
    #expect(graph.nodes.map(\.opcode) == ["mul"])
    let parameter = try #require(graph.parameter(named: "w"))
    let floats = try #require(graph[parameter].parameter?.data?.floats())
    #expect(floats == (0..<count).map { Float(Int8(truncatingIfNeeded: $0)) })
  }

  @Test("a reduction over the batch is refused")
  func refused() {
    var model = ModelFile()
    model.input("x", ["N", 3])
    model.node(
      "ReduceMax", ["x"], ["y"], name: "norm",
      attributes: [ModelFile.attribute("axes", ints: [0])])
    model.output("y", [1, 3])
    let text = importError(model) ?? "accepted"
    #expect(text.contains(#"node "norm" (Reduce"#) && text.contains("the batch"), "\(text)")
  }
}
