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

  @Test("nodes in the wrong order are sorted, whatever else nothing reads")
  func order() throws {
    var model = ModelFile()
    model.input("x", ["N", 4])
    model.node("Relu", ["a"], ["y"], name: "second")
    model.node("Relu", ["x"], ["a"], name: "first")
    model.output("y", ["N", 4])
    let imported = try importModel(model)
    #expect(imported.graph.nodes.map(\.origins) == [["first"], ["second"]])
    #expect(imported.warnings.first?.message.contains("topologically sorted") == true)
  }

  @Test("a function's nodes are sorted as well")
  func orderInFunctions() throws {
    var model = ModelFile()
    model.opsets = [("", 17), ("local", 1)]
    model.input("x", ["N", 4])
    model.node("Twice", ["x"], ["y"], name: "call", domain: "local")
    model.output("y", ["N", 4])
    let body =
      Wire.text(1, "Twice") + Wire.text(4, "in") + Wire.text(5, "out")
      + Wire.bytes(7, ModelFile.node("Sigmoid", ["mid"], ["out"], name: "s"))
      + Wire.bytes(7, ModelFile.node("Relu", ["in"], ["mid"], name: "r"))
      + Wire.bytes(9, Wire.int(2, 17)) + Wire.text(10, "local")
    model.more.append(Wire.bytes(25, body))
    #expect(try importModel(model).graph.nodes.map(\.opcode) == ["relu", "sigmoid"])
  }

  @Test("what nothing reads is no reason to refuse a model")
  func unread() throws {
    var model = ModelFile.convolution()
    // An operator that Graft does not have, a cycle, a node without its input, a text.
    model.node("NonZero", ["c"], ["unread"], name: "dead")
    model.node("Add", ["c", "p"], ["q"])
    model.node("Relu", ["q"], ["p"])
    model.node("Relu", ["nowhere"], ["lost"])
    model.initializer("text", [1], type: 8, data: Wire.bytes(6, [65]))
    let graph = try importModel(model).graph
    #expect(graph.nodes.map(\.opcode) == ["convolution", "relu"])
  }

  @Test("outputs of a node that nothing reads are left out")
  func unreadOutputs() throws {
    var model = ModelFile()
    model.input("x", ["N", 6, 4, 4])
    let kernel = ModelFile.attribute("kernel_shape", ints: [2, 2])
    model.node("MaxPool", ["x"], ["m", "indices"], name: "pool", attributes: [kernel])
    model.node("Dropout", ["m"], ["d", "mask"])
    model.node(
      "Split", ["d", "sizes"], ["a", "b", ""], attributes: [ModelFile.attribute("axis", int: 1)])
    model.integers("sizes", [1, 2, 3])
    model.output("a", ["N", 1, 3, 3])
    let graph = try importModel(model).graph
    #expect(graph.nodes.map(\.opcode) == ["max_pool", "dropout", "split"])
    model.output("indices", ["N", 6, 3, 3], type: 7)
    #expect(importError(model)?.contains("indices of the maxima") == true)
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
    #expect(
      importError(twoResults)?.contains(#"output "c" is also an output of node "conv""#) == true)
    var twoOutputs = ModelFile.convolution()
    twoOutputs.output("y")
    #expect(importError(twoOutputs)?.contains(#"two outputs are named "y""#) == true)
  }

  @Test("versions are checked")
  func versions() {
    var model = ModelFile.convolution()
    model.opsets = [("", 29)]
    #expect(importError(model)?.contains("opset 29, Graft supports 1 to 28") == true)
    model.opsets = [("", 999)]
    #expect(importError(model)?.contains("opset 999") == true)
    model.opsets = []
    #expect(importError(model)?.contains("does not import ONNX's default operator set") == true)
    model = .convolution()
    model.irVersion = nil
    #expect(importError(model)?.contains("no ONNX IR version") == true)
  }

  @Test("ONNX's own checker has its say where ours has nothing against a model")
  func libraryChecker() {
    var model = ModelFile.convolution()
    // Relu has no attribute; the importer itself would not look at it.
    model.node(
      "Relu", ["c"], ["z"], name: "strange", attributes: [ModelFile.attribute("alpha", int: 1)])
    #expect(importError(model) == nil)
    model.output("z", ["N", 4, 6, 6])
    let text = importError(model)
    #expect(text?.contains(#"node "strange" (Relu)"#) == true)
    #expect(text?.contains("ONNX's checker rejects the model") == true, "\(text ?? "accepted")")
    #expect(text?.contains("alpha") == true)
  }

  @Test("what the checker has against the file, but not against its nodes, is a warning")
  func libraryCheckerWarns() throws {
    var model = ModelFile.convolution()
    model.node("Relu", ["c"], ["z"])
    // An output without a type.
    model.graph.append(Wire.bytes(12, Wire.text(1, "z")))
    let imported = try importModel(model)
    #expect(imported.warnings.count == 1)
    let text = imported.warnings.first?.message ?? ""
    #expect(text.contains("ONNX's checker") && text.contains("'type'"), "\(text)")
    // A newer IR than the library knows is no reason for a word.
    model.irVersion = 13
    #expect(try importModel(model).warnings.isEmpty)
  }

  @Test("a model of another domain, and types that Graft does not have, are unsupported by name")
  func unsupportedTypes() {
    func kind(_ model: ModelFile) -> GraftError.Kind? {
      do { _ = try importModel(model) } catch let error as GraftError { return error.kind } catch {}
      return nil
    }
    var other = ModelFile()
    other.opsets = [("ai.onnx.ml", 3)]
    other.input("x", ["N", 4])
    other.node("Scaler", ["x"], ["y"], domain: "ai.onnx.ml")
    other.output("y", ["N", 4])
    #expect(kind(other) == .unsupported)
    #expect(importError(other)?.contains(#"only operators of "ai.onnx.ml""#) == true)
    for (type, name) in [
      (8, "STRING"), (14, "COMPLEX64"), (17, "FLOAT8E4M3FN"), (22, "INT4"), (24, "FLOAT8E8M0"),
    ] {
      var model = ModelFile()
      model.input("x", ["N", 4], type: type)
      model.node("Identity", ["x"], ["y"])
      model.output("y", ["N", 4], type: type)
      #expect(kind(model) == .unsupported)
      #expect(importError(model)?.contains("its elements are \(name)") == true)
      var cast = ModelFile()
      cast.input("x", ["N", 4])
      cast.node("Cast", ["x"], ["y"], attributes: [ModelFile.attribute("to", int: type)])
      cast.output("y", ["N", 4], type: type)
      #expect(kind(cast) == .unsupported)
      #expect(importError(cast)?.contains("a cast to \(name)") == true)
    }
    for (field, name) in [(4, "a sequence"), (5, "a map"), (9, "an optional value")] {
      var model = ModelFile()
      model.graph.append(
        Wire.bytes(11, Wire.text(1, "x") + Wire.bytes(2, Wire.bytes(field, []))))
      model.node("Identity", ["x"], ["y"])
      model.output("y", ["N", 4])
      #expect(kind(model) == .unsupported)
      #expect(importError(model)?.contains("it is \(name)") == true)
    }
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
