// Runs a bundle on tensors in one of two ways that must agree: the compiled kernels, or the graph on the
// reference evaluator.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Runs a bundle's network on tensors.
public struct TensorRunner {
  public enum Mode: Sendable {
    case compiled(threads: Int)
    /// The graph as it was imported, operator by operator in plain Swift; loads no code.
    case reference
  }

  private let bundle: ModelBundle
  private let mode: Mode

  public init(_ bundle: ModelBundle, mode: Mode) throws {
    self.bundle = bundle
    self.mode = mode
  }

  /// - Parameter keepingValues: whether the inner values are wanted too.
  /// - Returns: outputs and inner values by name.
  public func run(
    _ inputs: [String: Tensor], keepingValues: Bool = false
  ) throws -> (outputs: [String: Tensor], values: [String: Tensor]) {
    switch mode {
    case .compiled(let threads):
      let session = try Session(bundle, threads: threads)
      guard keepingValues else { return (try session.run(inputs), [:]) }
      return try session.runKeepingValues(inputs)
    case .reference:
      let graph = try bundle.loadGraph()
      var evaluator = ReferenceEvaluator(graph)
      var values: [String: Tensor] = [:]
      let outputs = try evaluator.run(inputs.mapValues { .float32($0) }) { id, tensor in
        if keepingValues, case .float32(let tensor) = tensor, let name = graph[id].name {
          values[name] = tensor
        }
      }
      return (
        try outputs.mapValues { value in
          guard case .float32(let tensor) = value else {
            throw GraftError(.unsupported, "an output is not float32")
          }
          return tensor
        }, values
      )
    }
  }
}
