// Models with one thing wrong each, and what is said of it.

import GraftTesting
import Testing

/// A file that cannot be compiled.
struct BadModel: CustomTestStringConvertible, Sendable {
  var testDescription: String
  var bytes: [UInt8]
  /// What the message holds.
  var says: [String]

  init(_ description: String, _ bytes: [UInt8], says: String...) {
    testDescription = description
    self.bytes = bytes
    self.says = says
  }

  init(_ description: String, says: [String], _ build: (inout ModelFile) -> Void) {
    var model = ModelFile()
    build(&model)
    testDescription = description
    bytes = model.bytes
    self.says = says
  }

  static let all: [BadModel] = files + structure + shapes

  private static let files = [
    BadModel(
      "a text", Array("This is no model.\n".utf8),
      says: #"is not an ONNX model: it is a text file that begins with "This is no model.""#),
    BadModel("an empty file", [], says: "is not an ONNX model: the file is empty"),
    BadModel(
      "a zip archive", Array("PK\u{3}\u{4}...".utf8),
      says: "is not an ONNX model: it is a zip archive", "PyTorch"),
    BadModel("a model without a graph", Wire.int(1, 8), says: "it has no graph"),
    BadModel(
      "20,000 graphs nested in attributes", nestedGraphs(20_000),
      says: "nested more than 100 levels deep"),
    BadModel("opset 29", says: ["opset 29, Graft supports 1 to 28"]) {
      $0 = .convolution()
      $0.opsets = [("", 29)]
    },
  ]

  private static let structure = [
    BadModel(
      "a cycle", says: [#"the graph has a cycle: "a" → "b" → "a""#]
    ) {
      $0.input("x", ["N", 4])
      $0.node("Add", ["x", "q"], ["p"], name: "a")
      $0.node("Relu", ["p"], ["q"], name: "b")
      $0.output("q", ["N", 4])
    },
    BadModel(
      "two unknown operators",
      says: [
        "2 nodes cannot be compiled",
        #"node "strange" (Frobnicate): Graft does not support this operator"#,
        #"node "foreign" (acme.Conv)"#, "acme",
      ]
    ) {
      $0.opsets.append(("acme", 1))
      $0.input("x", ["N", 4])
      $0.node("Frobnicate", ["x"], ["a"], name: "strange")
      $0.node("Conv", ["a"], ["y"], name: "foreign", domain: "acme")
      $0.output("y", ["N", 4])
    },
    BadModel(
      "a missing initializer", says: [#"node "conv" (Conv)"#, #"its input "weights" is missing"#]
    ) {
      $0.input("x", ["N", 3, 8, 8])
      $0.node("Conv", ["x", "weights"], ["y"], name: "conv")
      $0.output("y")
    },
    BadModel("a missing output", says: [#"output "y" is not computed by any node"#]) {
      $0.input("x", ["N", 3])
      $0.node("Relu", ["x"], ["z"])
      $0.output("y")
    },
    BadModel(
      "a name with terminal codes", says: [#""evil\u{1b}[2J\ngraft: all is well""#]
    ) {
      $0.input("x", ["N", 4])
      $0.node("Frobnicate", ["x"], ["y"], name: "evil\u{1B}[2J\ngraft: all is well")
      $0.output("y")
    },
  ]

  private static let shapes = [
    BadModel("wrong rank", says: [#"node "conv" (Conv)"#, "rank 4", "f32[N,3]"]) {
      $0.input("x", ["N", 3])
      $0.weights("w", [4, 3, 3, 3])
      $0.node("Conv", ["x", "w"], ["y"], name: "conv")
      $0.output("y")
    },
    BadModel(
      "channels that do not fit", says: [#"node "conv" (Conv)"#, "5 channels", "[4,3,3,3]"]
    ) {
      $0.input("x", ["N", 5, 8, 8])
      $0.weights("w", [4, 3, 3, 3])
      $0.node("Conv", ["x", "w"], ["y"], name: "conv")
      $0.output("y")
    },
    BadModel("shapes that do not broadcast", says: [#"node "sum" (Add)"#, "do not broadcast"]) {
      $0.input("x", ["N", 5])
      $0.weights("w", [4])
      $0.node("Add", ["x", "w"], ["y"], name: "sum")
      $0.output("y")
    },
    BadModel("a negative dimension", says: [#"node "x" (input)"#, "axis 1 has the extent -3"]) {
      $0.input("x", ["N", -3, 8, 8])
      $0.node("Relu", ["x"], ["y"])
      $0.output("y")
    },
    BadModel("an overflowing dimension", says: [#"node "x" (input)"#, "too large"]) {
      $0.input("x", ["N", .value(Int.max), .value(Int.max), 2])
      $0.node("Relu", ["x"], ["y"])
      $0.output("y")
    },
    BadModel("2^40 elements", says: [#"node "x" (input)"#, "too large"]) {
      $0.input("x", ["N", 1024, 32768, 32768])
      $0.node("Relu", ["x"], ["y"])
      $0.output("y")
    },
    BadModel("2^40 elements of weights", says: [#"node "w" (tensor)"#, "too large"]) {
      $0.input("x", ["N", 3, 8, 8])
      $0.initializer("w", [1 << 20, 1 << 20], type: 1, data: Wire.bytes(9, [1, 2, 3, 4]))
      $0.node("Conv", ["x", "w"], ["y"], name: "conv")
      $0.output("y")
    },
    BadModel("weights that do not fill their shape", says: [#"node "w" (tensor)"#, "432 bytes"]) {
      $0.input("x", ["N", 3, 8, 8])
      $0.initializer("w", [4, 3, 3, 3], type: 1, data: Wire.bytes(9, [1, 2, 3, 4]))
      $0.node("Conv", ["x", "w"], ["y"], name: "conv")
      $0.output("y")
    },
    BadModel(
      "an open axis",
      says: [#"axis 2 ("height"), axis 3 ("width") are dynamic"#, "--input-shape x=Nx3x224x224"]
    ) {
      $0.input("x", ["N", 3, "height", "width"])
      $0.node("Relu", ["x"], ["y"])
      $0.output("y")
    },
  ]

  /// Each level is a node with an attribute that holds a graph.
  private static func nestedGraphs(_ levels: Int) -> [UInt8] {
    // From the inside out and back to front, so that the work grows with the size only.
    var reversed: [UInt8] = []
    for field in Array(repeating: [6, 5, 1], count: levels).flatMap(\.self) + [7] {
      reversed += (Wire.varint(UInt64(field) << 3 | 2) + Wire.varint(UInt64(reversed.count)))
        .reversed()
    }
    return reversed.reversed()
  }
}
