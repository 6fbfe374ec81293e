// What every pass test does: run the pass on IR text with seeded weights, compare the result with a
// golden file, evaluate the graph before and after, and run the pass once more, which must change nothing.

import Foundation
import GraftCodegen
import GraftIR
import GraftOps
import GraftTesting
import Testing

@testable import GraftPasses

/// Runs `pass` on the graph that `text` describes and checks all that must hold of every pass.
/// - Parameters:
///   - target: whose kernels' times layouts are chosen by; nil leaves all plain.
///   - fires: whether the pass is to change the graph.
///   - golden: the golden file, with the graph before and after and the log.
func checkPass(
  _ pass: any Pass, _ golden: String, fires: Bool = true, mode: PassMode = .inference,
  constants: [String: [Double]] = [:], target: Target? = .x8664v3, _ text: String,
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  let before = try graph(text, constants: constants)
  var after = before
  let manager = PassManager(
    [PipelineEntry(pass, because: "this test is about it")], mode: mode,
    costs: target.map { KernelCostModel(target: $0) })
  let report = try manager.run(&after)
  let log = report.notes.map { "// \($0)\n" }.joined()
  let result = before.text == after.text ? "// unchanged\n" : after.text
  try expectGolden(
    "\(before.text)\n\(log)\(result)", "\(golden).ir", sourceLocation: sourceLocation)
  #expect((before.text != after.text) == fires, sourceLocation: sourceLocation)
  try expectSameOutputs(before, after, sourceLocation: sourceLocation)
  var again = after
  _ = try manager.run(&again)
  #expect(again.text == after.text, "not idempotent", sourceLocation: sourceLocation)
  #expect(try Graph(parsing: after.text) == after, sourceLocation: sourceLocation)
}

/// The text of a graph from what all graphs of a suite begin with, and what one test is about.
func graphText(_ head: String, _ body: String) -> String { "graph \"g\" {\n\(head)\n\(body)\n}" }

/// Parses `text` and binds weights that depend on the parameters' order alone: in -1 ... 1, positive
/// where the name speaks of a variance; or the constants given.
func graph(_ text: String, constants: [String: [Double]] = [:]) throws -> Graph {
  var graph = try Graph(parsing: text)
  var numbers = SplitMix(seed: 7)
  for id in graph.parameters {
    let name = try #require(graph[id].name)
    let shape = try graph.type(of: id).shape.extents(batch: 1)
    let count = shape.reduce(1, *)
    var elements = (0..<count).map { _ in numbers.number(in: -1.0...1) }
    if name.contains("var") { elements = elements.map { abs($0) + 0.25 } }
    if let given = constants[name] {
      elements = given.count == 1 ? Array(repeating: given[0], count: count) : given
    }
    var value = graph[id]
    guard var parameter = value.parameter else { continue }
    switch graph.type(of: id).dtype {
    case .int64: parameter.data = try TensorData(elements.map { Int64($0) }, shape: shape)
    case .float16:
      let bytes = elements.map { Float16($0) }.withUnsafeBytes { Array($0) }
      parameter.data = try TensorData(.float16, shape, in: MemoryBytes(bytes))
    default: parameter.data = try TensorData(elements.map(Float.init), shape: shape)
    }
    value.definition = .parameter(parameter)
    graph[id] = value
  }
  try graph.verify()
  return graph
}

/// Evaluates both graphs in float64 on the same numbers at batch 2. Passes round what they compute to
/// float32, so the outputs may differ by some of its roundings.
func expectSameOutputs(
  _ before: Graph, _ after: Graph, tolerance: Double = 4e-6,
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  var inputs: [String: HostTensor] = [:]
  var numbers = SplitMix(seed: 11)
  for id in before.inputs {
    let shape = try before.type(of: id).shape.extents(batch: 2)
    let elements = (0..<shape.reduce(1, *)).map { _ in numbers.number(in: -4.0...4) }
    inputs[try #require(before[id].name)] = .float64(
      try DenseTensor(shape: shape, elements: elements))
  }
  var first = ReferenceEvaluator(before, precision: .double)
  var second = ReferenceEvaluator(after, precision: .double)
  let expected = try first.run(inputs)
  let found = try second.run(inputs)
  #expect(expected.keys == found.keys, sourceLocation: sourceLocation)
  for (name, tensor) in expected {
    let left = try #require(tensor.doubles)
    let right = try #require(found[name]?.doubles)
    #expect(tensor.shape == found[name]?.shape, sourceLocation: sourceLocation)
    let scale = max(1, left.map(abs).max() ?? 1)
    let worst = zip(left, right).map { abs($0 - $1) }.max() ?? 0
    // The evaluator rounds to a narrow type where a cast says so, and nowhere else.
    let dtype = before.outputs.first { $0.name == name }.map { before.type(of: $0.value).dtype }
    let allowed = dtype == .float16 ? 0x1p-10 : dtype == .bfloat16 ? 0x1p-7 : tolerance
    #expect(worst <= allowed * scale, "output \(name)", sourceLocation: sourceLocation)
    #expect(left.contains { $0 != left.first }, "constant output", sourceLocation: sourceLocation)
  }
}
