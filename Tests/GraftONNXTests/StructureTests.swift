import GraftDiagnostics
import GraftIR
import GraftTesting
import Testing

@testable import GraftONNX

@Suite("Names and order")
struct StructureTests {
  @Test("a cycle is told as the path that closes it")
  func cycle() {
    var model = ModelFile()
    model.input("x", ["N", 4])
    model.node("Add", ["x", "d"], ["a"], name: "first")
    model.node("Relu", ["a"], ["b"], name: "second")
    model.node("Relu", ["b"], ["d"], name: "third")
    model.output("d", ["N", 4])
    let text = importError(model)
    #expect(
      text?.contains(#"cycle: "first" → "second" → "third" → "first""#) == true, "\(text ?? "")")
  }

  @Test("a node that reads itself is a cycle")
  func selfLoop() {
    var model = ModelFile()
    model.input("x", ["N", 4])
    model.node("Add", ["x", "y"], ["y"], name: "loop")
    model.output("y", ["N", 4])
    #expect(importError(model)?.contains(#"cycle: "loop" → "loop""#) == true)
  }

  @Test("nodes in the wrong order without a cycle are told as that")
  func order() {
    var model = ModelFile()
    model.input("x", ["N", 4])
    model.node("Relu", ["a"], ["y"], name: "second")
    model.node("Relu", ["x"], ["a"], name: "first")
    model.output("y", ["N", 4])
    #expect(importError(model)?.contains(#"reads "a" before node "first" makes it"#) == true)
  }

  @Test("duplicates of every kind are named")
  func duplicates() {
    var twoInputs = ModelFile.convolution()
    twoInputs.input("x", ["N", 1])
    #expect(importError(twoInputs)?.contains(#"two inputs are named "x""#) == true)
    var twoWeights = ModelFile.convolution()
    twoWeights.weights("w", [1])
    #expect(importError(twoWeights)?.contains(#"two initializers are named "w""#) == true)
    var twoResults = ModelFile.convolution()
    twoResults.node("Relu", ["x"], ["c"], name: "again")
    #expect(importError(twoResults)?.contains(#"makes "c", which node "conv" makes too"#) == true)
    var twoOutputs = ModelFile.convolution()
    twoOutputs.output("y")
    #expect(importError(twoOutputs)?.contains(#"two outputs are named "y""#) == true)
  }

  @Test("versions are checked")
  func versions() {
    var model = ModelFile.convolution()
    model.opsets = [("", 6)]
    #expect(importError(model)?.contains("opset 6, Graft reads 7 to 21") == true)
    model.opsets = [("", 999)]
    #expect(importError(model)?.contains("opset 999") == true)
    model.opsets = []
    #expect(importError(model)?.contains("imports no version of ONNX's own operator set") == true)
    model = .convolution()
    model.irVersion = nil
    #expect(importError(model)?.contains("which version of ONNX's IR") == true)
  }

  @Test("ONNX's own checker has its say where ours has nothing against a model")
  func libraryChecker() {
    var model = ModelFile.convolution()
    // Relu has no attribute; the importer itself would not look at it.
    model.node(
      "Relu", ["c"], ["z"], name: "strange", attributes: [ModelFile.attribute("alpha", int: 1)])
    let text = importError(model)
    #expect(text?.contains("ONNX's checker refuses the model") == true, "\(text ?? "accepted")")
    #expect(text?.contains("alpha") == true)
  }

  @Test("initializers that IR 3 lists among the inputs are no inputs")
  func oldInputs() throws {
    var model = ModelFile.convolution()
    model.irVersion = 3
    model.opsets = [("", 9)]
    model.input("w", [4, 3, 3, 3])
    let graph = try importModel(model).graph
    #expect(graph.inputs.map { graph[$0].name } == ["x"])
    #expect(graph.parameters.map { graph[$0].name } == ["w"])
  }

  @Test(
    "names are told apart by bytes, and differ in the graph even where Unicode holds them equal")
  func canonicalNames() throws {
    let (composed, decomposed) = ("caf\u{E9}", "cafe\u{301}")
    #expect(composed == decomposed)
    var model = ModelFile()
    model.input("x", ["N", 3, 8, 8])
    model.weights(composed, [4, 3, 3, 3])
    model.weights(decomposed, [4, 4, 1, 1])
    model.node("Conv", ["x", composed], ["a"])
    model.node("Conv", ["a", decomposed], ["y"])
    model.output("y", ["N", 4, 6, 6])
    let graph = try importModel(model).graph
    let shapes = graph.parameters.map { graph.type(of: $0).shape }
    #expect(shapes == [[4, 3, 3, 3], [4, 4, 1, 1]])
    #expect(Set(graph.parameters.compactMap { graph[$0].name }).count == 2)
  }
}
