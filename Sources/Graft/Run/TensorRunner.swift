// Runs a bundle on tensors with the compiled kernels or the reference evaluator.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Runs a bundle's network on tensors.
public struct TensorRunner {
  public enum Mode: Sendable {
    case compiled(threads: Int)
    /// The imported graph on the reference evaluator; loads no code.
    case reference
  }

  private let bundle: ModelBundle
  private let mode: Mode

  public init(_ bundle: ModelBundle, mode: Mode) throws {
    self.bundle = bundle
    self.mode = mode
  }

  /// - Parameter keepingValues: whether to return intermediate values too.
  /// - Returns: outputs and intermediate values by name.
  public func run(
    _ inputs: [String: Tensor], keepingValues: Bool = false
  ) throws -> (outputs: [String: Tensor], values: [String: Tensor]) {
    switch mode {
    case .compiled(let threads):
      let session = try Session(bundle, threads: threads)
      guard keepingValues else { return (try session.run(inputs), [:]) }
      return try session.runKeepingValues(inputs)
    case .reference:
      let program = try ProgramChoice(bundle.manifest)
        .program(forShapes: inputs.mapValues(\.shape)).index
      return try Self.evaluate(
        bundle.loadGraph(ofProgram: program), inputs, keepingValues: keepingValues)
    }
  }

  /// Evaluates in float64 if the network has values of that type, else in float32.
  private static func evaluate(
    _ graph: Graph, _ inputs: [String: Tensor], keepingValues: Bool
  ) throws -> (outputs: [String: Tensor], values: [String: Tensor]) {
    let isDouble = graph.allValues.contains { graph.type(of: $0).dtype == .float64 }
    let precision = isDouble ? HostTensor.Precision.double : .single
    var given: [String: HostTensor] = [:]
    let types = graph.inputs.map { (graph[$0].name ?? "", graph.type(of: $0).dtype) }
    for (name, tensor) in inputs {
      let dtype = types.first { $0.0 == name }?.1 ?? tensor.dtype
      given[name] = try tensor.converted(to: dtype).host(precision)
    }
    var evaluator = ReferenceEvaluator(graph, precision: precision)
    var values: [String: Tensor] = [:]
    let outputs = try evaluator.run(given) { id, tensor in
      guard keepingValues, let name = graph[id].name else { return }
      values[name] = try Tensor(tensor, as: graph.type(of: id).dtype)
    }
    var results: [String: Tensor] = [:]
    for output in graph.outputs {
      results[output.name] = try outputs[output.name].map {
        try Tensor($0, as: graph.type(of: output.value).dtype)
      }
    }
    return (results, values)
  }
}
