import GraftDiagnostics
import GraftIR
import GraftOps
import GraftTesting
import Testing

@testable import GraftONNX

@Suite("From nodes to the IR")
struct ConverterTests {
  @Test("the convolution of the tests comes out as two nodes with the file's names")
  func plain() throws {
    let graph = try importModel(.convolution()).graph
    #expect(graph.nodes.map(\.opcode) == ["convolution", "relu"])
    #expect(graph.nodes.map(\.origins) == [["conv"], ["relu"]])
    #expect(graph.type(of: graph.outputs[0].value).shape == [.batch, 4, 6, 6])
    #expect(graph.outputs.map(\.name) == ["y"])
  }

  @Test("an Identity of an initializer is a parameter of its own, named by its output")
  func identity() throws {
    var model = ModelFile()
    model.input("x", ["N", 4, 5, 5])
    model.weights("w", [4, 4, 1, 1])
    model.node("Identity", ["w"], ["copy"])
    model.node("Conv", ["x", "w"], ["a"])
    model.node("Conv", ["a", "copy"], ["y"])
    model.output("y", ["N", 4, 5, 5])
    let imported = try importModel(model)
    #expect(imported.graph.parameters.map { imported.graph[$0].name } == ["w", "copy"])
    #expect(imported.warnings.isEmpty)
  }

  @Test("a parameter that two nodes share is tied, and told")
  func tied() throws {
    var model = ModelFile()
    model.input("x", ["N", 4, 5, 5])
    model.weights("w", [4, 4, 1, 1])
    model.node("Conv", ["x", "w"], ["a"], name: "one")
    model.node("Conv", ["a", "w"], ["y"], name: "two")
    model.output("y", ["N", 4, 5, 5])
    let imported = try importModel(model)
    #expect(imported.graph.parameters.count == 1)
    let expected = #"parameter "w" is shared: nodes "one", "two" share it"#
    #expect(imported.warnings.map(\.message) == [expected])
  }

  @Test("shape arithmetic folds away with a symbolic batch")
  func shapeArithmetic() throws {
    var model = ModelFile()
    model.input("x", ["N", 4, 2, 3])
    model.node("Shape", ["x"], ["s"])
    model.integers("zero", [0])
    model.node("Gather", ["s", "zero"], ["batch"])
    model.integers("rest", [-1])
    model.node(
      "Concat", ["batch", "rest"], ["target"],
      attributes: [
        ModelFile.attribute("axis", int: 0)
      ])
    model.node("Reshape", ["x", "target"], ["y"], name: "flatten")
    model.output("y", ["N", 24])
    let graph = try importModel(model).graph
    #expect(graph.nodes.map(\.opcode) == ["reshape"])
    #expect(graph.type(of: graph.outputs[0].value).shape == [.batch, 24])
    #expect(graph.parameters.isEmpty)
  }

  @Test("every unsupported node is listed by name, operator and reason")
  func unsupported() {
    var model = ModelFile()
    model.input("x", ["N", 4])
    model.node("Frobnicate", ["x"], ["a"], name: "first")
    model.node("Relu", ["a"], ["b"], name: "fine")
    model.node("FusedGemm", ["b"], ["c"], name: "second", domain: "com.microsoft")
    model.node("Unique", ["c"], ["y"])
    model.output("y", ["N", 4])
    model.opsets.append(("com.microsoft", 1))
    let text = importError(model) ?? "accepted"
    #expect(text.contains("3 nodes cannot be compiled"))
    #expect(text.contains(#"node "first" (Frobnicate): Graft does not support this operator"#))
    #expect(text.contains(#"node "second" (com.microsoft.FusedGemm)"#))
    #expect(text.contains(#"node "y" (Unique)"#))
    #expect(!text.contains("fine"))
  }

  @Test("many unsupported nodes are summed up by operator")
  func manyUnsupported() {
    var model = ModelFile()
    model.input("x", ["N", 4])
    for index in 0..<40 {
      model.node(
        index.isMultiple(of: 4) ? "Unique" : "Frobnicate", ["v\(index)"], ["v\(index + 1)"])
    }
    model.node("Relu", ["x"], ["v0"])
    model.output("v40", ["N", 4])
    let text = importError(model) ?? "accepted"
    #expect(text.contains("40 nodes cannot be compiled:\n    30 × Frobnicate"), "\(text)")
    #expect(text.contains("10 × Unique"))
    #expect(text.contains("… and 30 more"))
    #expect(text.split(separator: "\n").count < 20)
  }

  @Test("nodes in training mode are read as in inference, and told once")
  func trainingMode() throws {
    func normalization(_ opset: Int, _ outputs: [String], _ attributes: [[UInt8]]) -> ModelFile {
      var model = ModelFile()
      model.opsets = [("", opset)]
      model.input("x", ["N", 2, 4, 4])
      for name in ["s", "b", "m", "v"] { model.weights(name, [2]) }
      model.node(
        "BatchNormalization", ["x", "s", "b", "m", "v"], outputs, name: "bn",
        attributes: attributes)
      model.output("y", ["N", 2, 4, 4])
      return model
    }
    var dropout = ModelFile()
    dropout.input("x", ["N", 4])
    dropout.initializer("on", [], type: 9, data: Wire.bytes(9, [1]))
    dropout.node("Dropout", ["x", "", "on"], ["y"], name: "drop")
    dropout.output("y", ["N", 4])
    let inTraining = [ModelFile.attribute("training_mode", int: 1)]
    for (model, opcode, told) in [
      (
        normalization(15, ["y", "a", "b2"], inTraining), "batch_normalization", "BatchNormalization"
      ),
      (
        normalization(9, ["y", "a", "b2", "c", "d"], []), "batch_normalization",
        "BatchNormalization"
      ),
      (dropout, "dropout", "Dropout"),
    ] {
      let imported = try importModel(model)
      #expect(imported.graph.nodes.map(\.opcode.rawValue) == [opcode])
      #expect(
        imported.warnings.map(\.message)
          == ["nodes in training mode are read as in inference: 1 × \(told)"])
    }
    // The batch's own statistics depend on other images.
    var read = normalization(15, ["y", "a", "b2"], inTraining)
    read.output("a", [2])
    let text = importError(read) ?? "accepted"
    #expect(text.contains(#"node "bn""#), "\(text)")
    #expect(text.contains("model.eval()") && text.contains("TrainingMode.EVAL"), "\(text)")
  }

  @Test("attributes that an operator does not do are collected over all nodes too")
  func unsupportedAttributes() {
    var model = ModelFile()
    model.input("x", ["N", 4, 8, 8, 8, 8])
    model.weights("w", [4, 4, 1, 1, 1, 1])
    model.node("Conv", ["x", "w"], ["a"], name: "one")
    model.node("Conv", ["x", "w"], ["b"], name: "two")
    model.node("Add", ["a", "b"], ["y"], name: "sum")
    model.output("y", ["N", 4, 8, 8, 8, 8])
    let text = importError(model) ?? "accepted"
    #expect(text.contains(#""one" (Conv)"#) && text.contains(#""two" (Conv)"#), "\(text)")
  }

  @Test("a function of the model is inlined, its values named after the call")
  func functions() throws {
    var model = ModelFile()
    model.opsets = [("", 17), ("local", 1)]
    model.input("x", ["N", 4])
    model.node("Twice", ["x"], ["y"], name: "call", domain: "local")
    model.output("y", ["N", 4])
    let body =
      Wire.text(1, "Twice") + Wire.text(4, "in") + Wire.text(5, "out")
      + Wire.bytes(7, ModelFile.node("Relu", ["in"], ["mid"], name: "r"))
      + Wire.bytes(7, ModelFile.node("Sigmoid", ["mid"], ["out"], name: "s"))
      + Wire.bytes(9, Wire.int(2, 17)) + Wire.text(10, "local")
    model.more.append(Wire.bytes(25, body))
    let graph = try importModel(model).graph
    #expect(graph.nodes.map(\.opcode) == ["relu", "sigmoid"])
    #expect(graph.nodes.map(\.origins) == [["call/r"], ["call/s"]])
    #expect(graph[graph.nodes[0].results[0]].name == "call/mid")
  }

  @Test(
    "a constant index outside its axis is told",
    arguments: [
      ("Gather", ["x", "pair"], 0), ("GatherElements", ["x", "pair"], 0),
      ("ScatterElements", ["x", "pair", "two"], 0), ("GatherND", ["x", "pair"], 1),
      ("ScatterND", ["x", "pair", "one"], 1), ("NegativeLogLikelihoodLoss", ["x", "labels"], 1),
    ])
  func outside(_ opType: String, _ inputs: [String], _ axis: Int) {
    var model = ModelFile()
    model.input("x", [4, 5])
    model.weights("one", [1])
    model.weights("two", [1, 2])
    let elements = [3, 9].map { UInt64($0) }
    model.initializer("pair", [1, 2], type: 7, data: Wire.bytes(7, elements.flatMap(Wire.varint)))
    model.integers("labels", [0, 1, 9, 4])
    model.node(opType, inputs, ["y"], name: "node")
    model.output("y", [4, 5])
    let message = "index 9 is outside axis \(axis) of"
    #expect(importError(model)?.contains(message) == true, "\(importError(model) ?? "imported")")
  }

  @Test("the coefficients of a Resize are no weights")
  func coefficients() throws {
    var model = ModelFile()
    model.opsets = [("", 13)]
    model.input("x", ["N", 2, 4, 4])
    model.weights("w", [3, 2, 1, 1])
    model.node("Conv", ["x", "w"], ["c"], name: "conv")
    let scales = [1, 1, 2, 2].map { Float($0).bitPattern }
    model.initializer("scales", [4], type: 1, data: Wire.bytes(9, Wire.littleEndian(scales)))
    model.node(
      "Resize", ["c", "", "scales"], ["y"], name: "resize",
      attributes: [ModelFile.attribute("mode", text: "linear")])
    model.output("y", ["N", 3, 8, 8])
    let graph = try importModel(model).graph
    let weights = graph.parameters.filter { graph[$0].parameter?.isLiteral == false }
    #expect(weights.map { graph[$0].name } == ["w"])
    #expect(graph.parameters.count > 1)
  }

  @Test("functions that call themselves are refused")
  func recursion() {
    var model = ModelFile()
    model.opsets = [("", 17), ("local", 1)]
    model.input("x", ["N", 4])
    model.node("F", ["x"], ["y"], name: "call", domain: "local")
    model.output("y", ["N", 4])
    let body =
      Wire.text(1, "F") + Wire.text(4, "in") + Wire.text(5, "out")
      + Wire.bytes(7, ModelFile.node("F", ["in"], ["out"], name: "again", domain: "local"))
      + Wire.bytes(9, Wire.int(2, 17)) + Wire.text(10, "local")
    model.more.append(Wire.bytes(25, body))
    #expect(importError(model)?.contains("or recursively") == true)
  }
}

@Suite("The batch")
struct BatchTests {
  private func model(
    batch: ModelFile.Extent, _ body: (inout ModelFile) -> Void
  ) -> ModelFile {
    var model = ModelFile()
    model.input("x", [batch, 4, 2, 2])
    body(&model)
    return model
  }

  @Test("a fixed batch is freed, through a Reshape to constants too")
  func freed() throws {
    let file = model(batch: 3) {
      $0.integers("target", [3, 16])
      $0.node("Reshape", ["x", "target"], ["y"])
      $0.output("y", [3, 16])
    }
    let imported = try importModel(file)
    #expect(imported.graph.type(of: imported.graph.outputs[0].value).shape == [.batch, 16])
    #expect(imported.warnings.isEmpty)
  }

  @Test("a batch that a node works along stays fixed, and that is told")
  func kept() throws {
    let file = model(batch: 3) {
      $0.node(
        "Softmax", ["x"], ["y"], name: "mix", attributes: [ModelFile.attribute("axis", int: 0)])
      $0.output("y", [3, 4, 2, 2])
    }
    let imported = try importModel(file)
    #expect(imported.graph.type(of: imported.graph.outputs[0].value).shape == [3, 4, 2, 2])
    #expect(imported.warnings.count == 1)
    #expect(imported.warnings.first?.message.contains("the batch size stays 3") == true)
    #expect(imported.warnings.first?.message.contains(#""mix""#) == true)
  }

  @Test("a shape that the caller gives decides")
  func chosen() throws {
    let relu: (inout ModelFile) -> Void = {
      $0.node("Relu", ["x"], ["y"])
      $0.output("y", [3, 4, 2, 2])
    }
    var options = ONNXImportOptions()
    options.inputShapes = ["x": [3, 4, 2, 2]]
    let fixed = try importModel(model(batch: 3, relu), options: options).graph
    #expect(fixed.type(of: fixed.inputs[0]).shape == [3, 4, 2, 2])
    let named = try importModel(model(batch: "n", relu), options: options).graph
    #expect(named.type(of: named.inputs[0]).shape == [3, 4, 2, 2])
    options.inputShapes = ["x": [.batch, 4, 2, 2]]
    let free = try importModel(model(batch: 3, relu), options: options).graph
    #expect(free.type(of: free.inputs[0]).shape == [.batch, 4, 2, 2])
    options.inputShapes = ["x": [.batch, 5, 2, 2]]
    #expect(
      importError(model(batch: 3, relu), options: options)?.contains("has extent 4 on axis 1")
        == true)
    options.inputShapes = ["z": [.batch, 4, 2, 2]]
    let wrong = importError(model(batch: 3, relu), options: options)
    #expect(wrong?.contains(#"unknown input "z"; the model has "x""#) == true)
  }

  @Test("0 and -1 stand for free axes in what older exporters write")
  func free() throws {
    for extent in [0, -1] {
      var file = ModelFile()
      file.input("x", [.value(extent), 4, .value(extent), 7])
      file.node("Relu", ["x"], ["y"])
      file.output("y", [.value(extent), 4, .value(extent), 7])
      let text = importError(file)
      #expect(text?.contains("axis 2 (\(extent)) is dynamic") == true)
      #expect(text?.contains("--input-shape x=Nx4x7x7") == true)
      var options = ONNXImportOptions()
      for batch: Dimension in [.batch, 5] {
        options.inputShapes = ["x": [batch, 4, 9, 7]]
        let imported = try importModel(file, options: options)
        #expect(imported.graph.type(of: imported.graph.inputs[0]).shape == [batch, 4, 9, 7])
        #expect(imported.warnings.count == 2)
        let told = imported.warnings.first?.message
        #expect(told?.contains("axis 0 has the extent \(extent)") == true)
      }
    }
  }

  @Test("every open axis of every input is named, with a hint made of the file")
  func dynamicAxes() {
    var file = ModelFile()
    file.input("a", ["N", "c", 32, "w"])
    file.input("b", [8, "length"])
    file.weights("w", [4, 3, 1, 1])
    file.node("Conv", ["a", "w"], ["y"], attributes: [ModelFile.attribute("group", int: 2)])
    file.node("Relu", ["b"], ["z"])
    file.output("y")
    file.output("z")
    let text = importError(file) ?? ""
    for words in [
      #"axis 1 ("c"), axis 3 ("w") are dynamic"#,
      #"input "b": axis 1 ("length") is dynamic"#,
      "--input-shape a=Nx6x32x32 --input-shape b=8x128",
    ] {
      #expect(text.contains(words), "\(text)")
    }
  }

  @Test("an open axis that is not the batch asks for --input-shape")
  func open() throws {
    var file = ModelFile()
    file.input("x", ["N", 4, "height", "width"])
    file.node("Relu", ["x"], ["y"])
    file.output("y")
    let text = importError(file)
    #expect(text?.contains(#"axis 2 ("height"), axis 3 ("width") are dynamic"#) == true)
    #expect(text?.contains("--input-shape x=Nx4x224x224") == true)
    var options = ONNXImportOptions()
    options.inputShapes = ["x": [.batch, 4, 9, 7]]
    let graph = try importModel(file, options: options).graph
    #expect(graph.type(of: graph.outputs[0].value).shape == [.batch, 4, 9, 7])
  }
}
