// Gathers with numbers of the batch's items among their indices, as PyTorch's dynamo exporter writes as_strided.

import GraftDiagnostics
import GraftIR
import GraftOps
import GraftTesting
import Testing

@testable import GraftONNX

@Suite("Indices of the batch's items")
struct ItemIndicesTests {
  /// x [N, 2, 3] as one row, gathered at n · step + places.
  private func model(places: [Int], step: Int = 6) -> ModelFile {
    var model = ModelFile()
    model.input("x", ["N", 2, 3])
    model.integers("flat", [-1])
    model.node("Reshape", ["x", "flat"], ["row"])
    model.node("Shape", ["x"], ["s"], attributes: [ModelFile.attribute("end", int: 1)])
    model.node("Squeeze", ["s"], ["n"])
    for (name, number) in [("zero", 0), ("one", 1), ("step", step)] {
      model.node(
        "Constant", [], [name], attributes: [ModelFile.attribute("value_int", int: number)])
    }
    model.node("Range", ["zero", "n", "one"], ["items"], name: "range")
    model.node("Mul", ["items", "step"], ["starts"])
    model.integers("axes", [-1])
    model.node("Unsqueeze", ["starts", "axes"], ["column"])
    model.integers("places", places)
    model.node("Add", ["places", "column"], ["indices"])
    model.node("Gather", ["row", "indices"], ["y"], name: "as_strided")
    model.output("y", ["N", .value(places.count)])
    return model
  }

  @Test func gatherFromEachItemAlone() throws {
    let graph = try importModel(model(places: [5, 0, 3, 3])).graph
    let input = try DenseTensor<Float>(
      shape: [2, 2, 3], elements: (0..<12).map(Float.init))
    var evaluator = ReferenceEvaluator(graph)
    let found = try evaluator.run(["x": .float32(input)])
    guard case .float32(let y) = found["y"] else { throw GraftError(.inconsistency, "no y") }
    #expect(y.shape == [2, 4] && y.elements == [5, 0, 3, 3, 11, 6, 9, 9])
  }

  @Test func allPlacesAreAReshape() throws {
    let graph = try importModel(model(places: Array(0..<6))).graph
    #expect(Set(graph.nodes.map(\.opcode)) == ["reshape"])
  }

  /// x[:] = y, as the exporter writes slice_scatter.
  @Test func updatesOfAllItemsAreTheResult() throws {
    var model = ModelFile()
    model.opsets = [("", 18)]
    model.input("x", ["N", 2])
    model.node("Relu", ["x"], ["update"])
    model.node("Shape", ["x"], ["s"], attributes: [ModelFile.attribute("end", int: 1)])
    model.node("Squeeze", ["s"], ["n"])
    for (name, number) in [("zero", 0), ("one", 1)] {
      model.node(
        "Constant", [], [name], attributes: [ModelFile.attribute("value_int", int: number)])
    }
    model.node("Range", ["zero", "n", "one"], ["items"])
    for (name, number) in [("start", 0), ("end", Int.max), ("axis", 0), ("step", 1), ("last", -1)] {
      model.integers(name, [number])
    }
    model.node("Slice", ["items", "start", "end", "axis", "step"], ["all"])
    model.node("Unsqueeze", ["all", "last"], ["indices"])
    model.node("ScatterND", ["x", "indices", "update"], ["y"])
    model.output("y", ["N", 2])
    let graph = try importModel(model).graph
    #expect(graph.nodes.map(\.opcode) == ["relu"])
  }

  /// Items that read from others, and numbers of items as values.
  @Test func othersAreRefused() throws {
    for wrong in [model(places: [0, 6]), model(places: [0], step: 3)] {
      let text = importError(wrong) ?? "accepted"
      #expect(text.contains(#""indices" numbers the items of the batch"#), "\(text)")
    }
    var returned = model(places: [0])
    returned.output("starts", ["N"])
    let text = importError(returned) ?? "accepted"
    #expect(text.contains("numbers of the batch's items"), "\(text)")
  }
}
