// Removes nodes and parameters without readers.

import GraftIR

/// Removes nodes whose results are neither read nor outputs, and parameters without readers. Inputs are kept,
/// because they are part of the interface.
///
/// ```
/// %1 = relu(%0) : f32[N,8] from "used"
/// %2 = tanh(%0) : f32[N,8] from "unused"
/// output "y" = %1
/// ```
/// becomes
/// ```
/// %1 = relu(%0) : f32[N,8] from "used"
/// output "y" = %1
/// ```
public struct RemoveDeadCode: Pass {
  public static let name = "remove-dead-code"
  public static let summary = "removes nodes and parameters without readers"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    let removed = graph.removeDeadCode()
    for node in removed.nodes { context.did("removed \(graph.title(node)), which has no readers") }
    if removed.parameters > 0 {
      context.did("removed \(removed.parameters) parameters without readers")
    }
  }
}
