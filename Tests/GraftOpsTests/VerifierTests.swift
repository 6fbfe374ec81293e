// Each invariant of a graph's types and layouts, broken alone.

import GraftDiagnostics
import GraftIR
import GraftOps
import GraftTesting
import Testing

@Suite struct VerifierTests {
  private static func graph() throws -> Graph {
    try Graph(
      parsing: """
        graph "g" {
          %0 "x" = input : f32[N,8,4,4]
          %1 "w" = parameter : f32[8,8,3,3]
          %2 = convert_layout(%0) : f32[N,8,4,4]@c8b1x1
          %3 = convolution(%2, %1) {strides=[1, 1], pads=[1, 1, 1, 1]} : f32[N,8,4,4]@c8 from "conv"
          %4 = add(%3, %3) : f32[N,8,4,4]@c8 from "add"
          %5 = convert_layout(%4) : f32[N,8,4,4]
          %6 = reshape(%5) {shape=shape [N,128]} : f32[N,128] from "flat"
          output "y" = %6
        }
        """)
  }

  private static func result(_ opcode: Opcode, of graph: Graph) throws -> ValueID {
    try #require(graph.nodes.first { $0.opcode == opcode }?.results.first)
  }

  static let breaks:
    [(label: String, what: String, change: @Sendable (inout Graph) throws -> Void)] = [
      (
        "V1", "the structure is broken",
        { graph in
          graph.outputs.append(graph.outputs[0])
        }
      ),
      (
        "V2", "no operator has this name",
        { graph in
          graph[try #require(graph.nodes.last).id].opcode = "reshapes"
        }
      ),
      (
        "V2", "an attribute is missing",
        { graph in
          graph[try #require(graph.nodes.last).id].attributes = [:]
        }
      ),
      (
        "V3", "the shape is not the inferred one",
        { graph in
          let value = try result("reshape", of: graph)
          graph[value].type = TensorType(.float32, [.batch, 64])
        }
      ),
      (
        "V3", "the element type is not the inferred one",
        { graph in
          let value = try result("reshape", of: graph)
          graph[value].type = TensorType(.float16, graph.type(of: value).shape)
        }
      ),
      (
        "V4", "a reshape reads blocks",
        { graph in
          let value = try result("add", of: graph)
          graph[try #require(graph.nodes.last).id].operands = [value]
        }
      ),
      (
        "V4", "blocks of two sizes are added",
        { graph in
          let value = try result("add", of: graph)
          graph[value].type.layout = .blocked(4)
        }
      ),
      (
        "V5", "a convolution with pads reads an image without a border",
        { graph in
          let value = try result("convert_layout", of: graph)
          graph[value].type.layout = .blocked(8)
        }
      ),
    ]

  @Test(arguments: breaks.indices) func eachIsCited(_ index: Int) throws {
    let (label, what, change) = Self.breaks[index]
    var graph = try Self.graph()
    try graph.verify()
    try change(&graph)
    let error = #expect(throws: GraftError.self, "\(what)") { try graph.verify() }
    #expect(error?.kind == .invalidGraph, "\(what)")
    // What the structure and the attributes break is said in their own words.
    guard !["V1", "V2"].contains(label) else { return }
    #expect(error?.message.hasSuffix("[\(label)]") == true, "\(what): \(error?.message ?? "")")
    #expect(error?.location.irLine != nil, "\(what)")
  }

  @Test func everyDocumentedOneIsBroken() throws {
    #expect(try documentedInvariants("V") == Set(Self.breaks.map(\.label)))
  }

  /// Values in memory as the graph's layouts say: a wrong layout is an error or another result.
  @Test func evaluatesWhatLiesInMemory() throws {
    let graph = try Self.graph()
    var input = SplitMix(seed: 3)
    let x = try DenseTensor(
      shape: [2, 8, 4, 4], elements: (0..<256).map { _ in input.number(in: -1.0...1) })
    func run(_ graph: Graph) throws -> [Double]? {
      var graph = graph
      for id in graph.parameters {
        var weights = SplitMix(seed: 4)
        var value = graph[id]
        guard var parameter = value.parameter else { continue }
        parameter.data = try TensorData(
          (0..<576).map { _ in weights.number(in: Float(-1)...1) }, shape: [8, 8, 3, 3])
        value.definition = .parameter(parameter)
        graph[id] = value
      }
      var evaluator = ReferenceEvaluator(graph, precision: .double)
      return try evaluator.run(["x": .float64(x)])["y"]?.doubles
    }
    var plain = graph
    for id in plain.allValues { plain[id].type.layout = .plain }
    let expected = try #require(try run(plain))
    #expect(try run(graph) == expected)

    var narrow = graph
    narrow[try Self.result("convert_layout", of: graph)].type.layout = .blocked(8)
    #expect(throws: GraftError.self) { try run(narrow) }
    var viewed = graph
    viewed[try #require(graph.nodes.last).id].operands = [try Self.result("add", of: graph)]
    #expect(try run(viewed) != expected)
  }
}
