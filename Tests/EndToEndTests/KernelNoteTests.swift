// What dumps of a scheduled graph say of the kernel of every node.

import Graft
import GraftIR
import GraftTesting
import Testing

@Suite struct KernelNoteTests {
  private func scheduled(_ name: String, compact: Bool = false) throws -> Graph {
    var options = Compiler.Options()
    options.target = .x8664v3
    options.isCompact = compact
    let compiler = Compiler(options)
    let model = try compiler.load(ModelFixture.named(name).modelPath)
    return try compiler.lower(model.graph, to: .scheduled).graph
  }

  @Test(arguments: [
    "winograd_residual", "grouped_wide", "depthwise_separable", "classifier", "average_pool",
  ])
  func everyNodeSaysWhatComputesIt(name: String) throws {
    let graph = try scheduled(name)
    for node in graph.nodes {
      let note = try #require(node.kernel, "\(node.opcode)")
      #expect(note.time >= 0 && note.time.isFinite)
      #expect(!note.family.isEmpty)
    }
    let parsed = try Graph(parsing: graph.text)
    #expect(parsed == graph)
    #expect(parsed.nodes.map(\.kernel) == graph.nodes.map(\.kernel))
  }

  @Test func theAlgorithmIsTheOneThatIsCompiled() throws {
    func convolutions(_ graph: Graph) -> [KernelNote] {
      graph.nodes.filter { $0.opcode == "convolution" }.compactMap(\.kernel)
    }
    let fast = try convolutions(scheduled("winograd_residual"))
    #expect(fast.contains { $0.family == "winograd" })
    #expect(
      fast.filter { $0.family == "winograd" }
        .allSatisfy { $0.algorithm?.hasPrefix("Winograd F(") == true && $0.element == .float32 })
    let compact = try convolutions(scheduled("winograd_residual", compact: true))
    #expect(compact.allSatisfy { $0.family == "direct" })
    for (one, other) in zip(fast, compact) { #expect(one.time <= other.time) }
  }

  @Test func theCommandLineShowsThem() throws {
    let model = try ModelFixture.named("winograd_residual").modelPath
    let text = try GraftProgram.run(["dump", model, "--stage", "scheduled"])
    #expect(text.status == 0)
    #expect(text.output.contains(" kernel {family=\"winograd\", element=type f32, time="))
    let json = try GraftProgram.run(["dump", model, "--stage", "scheduled", "--format", "json"])
    #expect(json.output.contains("\"family\" : \"winograd\""))
    let imported = try GraftProgram.run(["dump", model, "--stage", "import"])
    #expect(!imported.output.contains(" kernel {"))
  }
}
