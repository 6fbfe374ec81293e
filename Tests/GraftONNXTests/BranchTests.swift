import GraftDiagnostics
import GraftIR
import GraftOps
import GraftTesting
import Testing

@testable import GraftONNX

@Suite("Branches")
struct BranchTests {
  /// A branch that computes `result` by an operator.
  private func branch(
    _ opType: String, _ inputs: [String], result: String = "result", more: [[UInt8]] = []
  ) -> [UInt8] {
    (more + [ModelFile.node(opType, inputs, [result])]).flatMap { Wire.bytes(1, $0) }
      + Wire.text(2, "branch") + Wire.bytes(12, ModelFile.valueInfo(result, ["N", 4], type: 1))
  }

  private func model(
    condition: String, then: [UInt8], other: [UInt8], _ change: (inout ModelFile) -> Void = { _ in }
  ) -> ModelFile {
    var model = ModelFile()
    model.input("x", ["N", 4])
    change(&model)
    model.node(
      "If", [condition], ["y"], name: "choice",
      attributes: [
        ModelFile.attribute("then_branch", graph: then),
        ModelFile.attribute("else_branch", graph: other),
      ])
    model.output("y", ["N", 4])
    return model
  }

  private func constant(_ value: Int) -> (inout ModelFile) -> Void {
    { model in
      model.integers("number", [value])
      model.node(
        "Cast", ["number"], ["flag"], attributes: [ModelFile.attribute("to", int: 9)])
    }
  }

  @Test("the branch that holds stands in the node's place", arguments: [0, 1])
  func chosen(_ value: Int) throws {
    let file = model(
      condition: "flag", then: branch("Relu", ["x"]), other: branch("Neg", ["x"]), constant(value))
    let graph = try importModel(file).graph
    #expect(graph.nodes.map(\.opcode) == [value == 1 ? "relu" : "neg"])
    #expect(graph.nodes.map(\.origins) == [["choice/result"]])
    #expect(graph.outputs.map(\.name) == ["y"])
  }

  @Test("a branch in a branch reads what both and the graph have, though nothing else reads it")
  func nested() throws {
    let inner = ModelFile.node(
      "If", ["flag"], ["result"], name: "inner",
      attributes: [
        ModelFile.attribute("then_branch", graph: branch("Add", ["hidden", "own"])),
        ModelFile.attribute("else_branch", graph: branch("Sub", ["hidden", "own"])),
      ])
    let outer =
      Wire.bytes(1, ModelFile.node("Exp", ["x"], ["own"])) + Wire.bytes(1, inner)
      + Wire.text(2, "outer") + Wire.bytes(12, ModelFile.valueInfo("result", ["N", 4], type: 1))
    let file = model(condition: "flag", then: outer, other: branch("Neg", ["x"])) { model in
      constant(1)(&model)
      model.node("Tanh", ["x"], ["hidden"])
    }
    let graph = try importModel(file).graph
    #expect(graph.nodes.map(\.opcode) == ["tanh", "exp", "add"])
  }

  @Test("a branch may be a value of the graph")
  func passing() throws {
    let same =
      Wire.text(2, "branch") + Wire.bytes(12, ModelFile.valueInfo("x", ["N", 4], type: 1))
    let file = model(condition: "flag", then: same, other: branch("Neg", ["x"]), constant(1))
    #expect(try importModel(file).graph.nodes.isEmpty)
  }

  @Test("a condition that the network computes is refused, and what a branch lacks is named")
  func refused() {
    let computed = model(
      condition: "flag", then: branch("Relu", ["x"]), other: branch("Neg", ["x"])
    ) { $0.input("flag", [], type: 9) }
    #expect(
      importError(computed)?.contains(
        "node \"choice\" (If): its condition \"flag\" is computed while the network runs") == true)
    let missing = model(
      condition: "flag", then: branch("Relu", ["z"]), other: branch("Neg", ["x"]), constant(1))
    #expect(importError(missing)?.contains("its input \"z\" is missing") == true)
    let unknown = model(
      condition: "flag", then: branch("DFT", ["x"]), other: branch("Neg", ["x"]), constant(1))
    #expect(
      importError(unknown)?.contains("\"choice/result\" (DFT): Graft does not support") == true)
    let unused = model(
      condition: "flag", then: branch("DFT", ["x"]), other: branch("Neg", ["x"]), constant(0))
    #expect(importError(unused)?.contains("DFT") != true)
  }
}
