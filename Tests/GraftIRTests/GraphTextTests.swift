// The text form prints deterministically and parses back, whatever the names.

import GraftDiagnostics
import GraftIR
import Testing

@Suite struct GraphTextTests {
  static func makeGraph(name: String = "net", valueName: String = "image") throws -> Graph {
    var graph = Graph(name: name)
    let x = graph.addInput(valueName, TensorType(.float32, [.batch, 3, 32, 32]))
    let w = graph.addParameter(
      "conv.weight", TensorType(.float32, [16, 3, 3, 3]),
      Parameter(isTrained: true, group: "tail", derivation: nil))
    let y = graph.addNode(
      "convolution", [x, w, nil],
      [
        "strides": .ints([1, 1]), "pads": .ints([1, 1, 1, 1]), "low": .float(-.infinity),
        "scale": .float(1e-5), "empty": .floats([]), "names": .strings(["a\"b", "c\n"]),
        "type": .type(.bfloat16), "shape": .shape([.batch(times: 2), -1]), "flag": .bool(true),
      ],
      types: [TensorType(.float32, [.batch, 16, 32, 32], layout: .blocked(8, border: (1, 2)))],
      names: ["y"], origins: ["Conv_0", "Relu \"1\""])
    graph.outputs = [GraphOutput(name: "logits", value: y[0])]
    return graph
  }

  @Test func printsAndParsesBack() throws {
    let graph = try Self.makeGraph()
    let parsed = try Graph(parsing: graph.text)
    #expect(parsed == graph)
    #expect(parsed.text == graph.text)
    let node = try #require(parsed.nodes.first)
    #expect(try node.attributes.float("low") == -.infinity)
    #expect(try node.attributes.float("scale") == 1e-5)
    #expect(parsed.type(of: node.results[0]).layout == .blocked(8, border: (1, 2)))
  }

  @Test(arguments: [
    "x\"; system(\"id\"); //", "../../etc", "a\nb", "🦉", String(repeating: "ä", count: 10_000),
    "\u{202e}abc\u{0}", "\\u{41}",
  ])
  func keepsAnyName(_ name: String) throws {
    let graph = try Self.makeGraph(name: name, valueName: name)
    let parsed = try Graph(parsing: graph.text)
    #expect(parsed == graph)
    #expect(parsed[parsed.inputs[0]].name == name)
  }

  @Test func equalityIgnoresNumbering() throws {
    var left = try Self.makeGraph()
    let dead = left.addNode(
      "relu", [left.inputs[0]], types: [TensorType(.float32, [.batch, 3, 32, 32])])
    #expect(left != (try Self.makeGraph()))
    left.removeDeadCode()
    #expect(!left.contains(dead[0]))
    #expect(left == (try Self.makeGraph()))
  }

  @Test(arguments: [
    ("graph \"g\" {", "line 1: expected a value such as %1, found the end of the text"),
    ("graph \"g\" {\n output \"y\" = %3\n}", "line 2: %3 is read before it is defined"),
    (
      "graph \"g\" {\n %0 \"x\" = input : f31[2]\n}",
      "line 2: expected an element type, found \"f31\""
    ),
    (
      "graph \"g\" {\n %0 \"x\" = input : f32[2]\n %0 \"z\" = input : f32[2]\n}",
      "line 4: %0 is defined twice"
    ),
    ("graph \"g {", "line 1: a string has no closing quote"),
  ])
  func saysWhereTheTextIsWrong(_ text: String, _ message: String) {
    #expect {
      _ = try Graph(parsing: text)
    } throws: { error in
      (error as? GraftError)?.message == message
    }
  }
}

@Suite struct GraphVerificationTests {
  @Test func namesTheBrokenInvariant() throws {
    var graph = try GraphTextTests.makeGraph()
    try graph.verifyStructure()
    let node = try #require(graph.nodes.first)
    let relu = graph.addNode(
      "relu", [node.results[0]], types: [graph.type(of: node.results[0])], before: node.id)
    #expect {
      try graph.verifyStructure()
    } throws: { error in
      let error = error as? GraftError
      return error?.message.contains("[S1]") == true && error?.location.irLine != nil
    }
    graph[relu[0]].type.layout = .plain
    graph.addInput("image", TensorType(.float32, [1]))
    #expect {
      try graph.verifyStructure()
    } throws: { error in
      (error as? GraftError)?.message.contains("[S3]") == true
    }
  }
}

@Suite struct DimensionTests {
  @Test func dividesOnlyWithoutRemainder() {
    #expect(Dimension.batch(times: 6).divided(by: 3) == .batch(times: 2))
    #expect(Dimension.batch(times: 6).divided(by: .batch(times: 3)) == 2)
    #expect(Dimension(6).divided(by: .batch) == nil)
    #expect(Dimension(7).divided(by: 2) == nil)
    #expect(Dimension.batch.multiplied(by: .batch) == nil)
    #expect(Dimension(Int.max).multiplied(by: 2) == nil)
  }
}
