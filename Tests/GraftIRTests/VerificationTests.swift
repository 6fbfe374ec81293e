// What the structure of a graph must not be, as a text that a bundle may hold.

import GraftDiagnostics
import GraftIR
import GraftTesting
import Testing

@Suite struct VerificationTests {
  private static let large = Int.max

  @Test(
    "types whose size cannot be computed are refused",
    arguments: [
      ("f32[N,3,8,8]@c\(large)", "[S6]"), ("f32[N,3,8,8]@c8b\(large)x0", "[S6]"),
      ("f32[N,3,8,8]@c8b0x\(large)", "[S6]"), ("f32[N,3,8,8]@c1048577", "[S6]"),
      ("f32[N,3]@c8", "[S6]"), ("f32[N,-3,8,8]", "[S5]"), ("f32[N,\(large),8,8]", "[S5]"),
      ("f32[0,\(large),\(large),2]", "[S5]"),
    ])
  func hostileTypes(_ type: String, _ constraint: String) throws {
    let graph = try Graph(
      parsing: """
        graph "g" {
          %0 "x" = input : \(type)
          output "y" = %0
        }
        """)
    let error = #expect(throws: GraftError.self) { try graph.verifyStructure() }
    #expect(error?.kind == .invalidGraph)
    #expect(error?.message.contains(constraint) == true, "\(error?.message ?? "")")
  }
}

/// A graph that keeps every invariant, and for each invariant of structure a change that breaks it alone.
@Suite struct InvariantTests {
  private static func graph() throws -> Graph {
    try Graph(
      parsing: """
        graph "g" {
          %0 "x" = input : f32[N,8,4,4]
          %1 "w" = parameter : f32[8]
          %2 = relu(%0) : f32[N,8,4,4] from "first"
          %3 = relu(%2) : f32[N,8,4,4] from "second"
          output "y" = %3
        }
        """)
  }

  static let breaks:
    [(label: String, what: String, change: @Sendable (inout Graph) throws -> Void)] = [
      (
        "S1", "a node reads what a later one makes",
        { graph in
          let nodes = graph.nodes
          graph[nodes[0].id].operands = [nodes[1].results[0]]
        }
      ),
      (
        "S2", "a result says that another node defines it",
        { graph in
          let nodes = graph.nodes
          graph[nodes[0].results[0]].definition = .result(node: nodes[1].id, index: 0)
        }
      ),
      (
        "S2", "a result says that it is the second of its node",
        { graph in
          let node = try #require(graph.nodes.first)
          graph[node.results[0]].definition = .result(node: node.id, index: 1)
        }
      ),
      (
        "S3", "two inputs share a name",
        { graph in
          graph.addInput("x", TensorType(.float32, [1]))
        }
      ),
      (
        "S3", "a parameter has no name",
        { graph in
          graph[try #require(graph.parameters.first)].name = nil
        }
      ),
      (
        "S4", "two outputs share a name",
        { graph in
          graph.outputs.append(graph.outputs[0])
        }
      ),
      (
        "S4", "an output's value does not exist",
        { graph in
          var larger = graph
          let value = larger.addInput("other", TensorType(.float32, [1]))
          graph.outputs.append(GraphOutput(name: "z", value: value))
        }
      ),
      (
        "S5", "an extent is negative",
        { graph in
          graph[graph.inputs[0]].type = TensorType(.float32, [-1])
        }
      ),
      (
        "S6", "integers lie in blocks",
        { graph in
          graph[graph.inputs[0]].type = TensorType(.int64, [1, 8, 4, 4], layout: .blocked(8))
        }
      ),
      (
        "S6", "a vector lies in blocks",
        { graph in
          graph[graph.inputs[0]].type = TensorType(.float32, [8], layout: .blocked(8))
        }
      ),
    ]

  @Test(arguments: breaks.indices) func eachIsCited(_ index: Int) throws {
    let (label, what, change) = Self.breaks[index]
    var graph = try Self.graph()
    try graph.verifyStructure()
    try change(&graph)
    let error = #expect(throws: GraftError.self, "\(what)") { try graph.verifyStructure() }
    #expect(error?.kind == .invalidGraph)
    #expect(error?.message.hasSuffix("[\(label)]") == true, "\(what): \(error?.message ?? "")")
  }

  @Test func everyDocumentedOneIsBroken() throws {
    #expect(try documentedInvariants("S") == Set(Self.breaks.map(\.label)))
  }
}
