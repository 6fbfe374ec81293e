// The work of each step per image, for comparing its time with the machine's limits.

import GraftIR
import GraftOps

/// The arithmetic and the bytes of one step.
public struct StepWork: Hashable, Sendable {
  /// The multiply-adds of the operator for one image.
  public var multiplyAdds = 0
  /// Those that its algorithm does: Winograd's does fewer.
  public var performedMultiplyAdds = 0
  /// The type whose products it computes.
  public var arithmetic: DataType?
  /// Bytes of activations that are read and written for one image.
  public var activationBytes = 0
  /// Bytes of weights as they are packed, and of all else that does not grow with the batch.
  public var weightBytes = 0

  public init() {}
}

/// How an algorithm's work relates to the operator's own arithmetic.
struct WorkShape: Hashable {
  /// The ratio of multiply-adds of the algorithm to those of the operator.
  var multiplyAdds = 1.0
  /// The ratio of packed weight bytes to those of the parameter.
  var weights = 1.0
}

extension WinogradSchedule {
  func workShape(_ shape: ConvolutionShape) -> WorkShape {
    let taps = Double(shape.window.kernel.reduce(1, *))
    return WorkShape(
      multiplyAdds: Double(points * tiles) / (taps * Double(shape.resultPixels)),
      weights: Double(points) / taps)
  }
}

extension Lowering {
  /// The work of every step. Where a node takes several, its last does the work and the others make ready.
  func work() throws -> [StepWork] {
    try steps.indices.map { index in
      guard let id = steps[index].node,
        index + 1 == steps.count || steps[index + 1].node != id
      else { return StepWork() }
      return try selection.work(of: graph[id], in: graph)
    }
  }
}

extension KernelSelection {
  /// The work of a node for one image.
  func work(of node: Node, in graph: Graph) throws -> StepWork {
    let schedule = try choice(for: node).schedule
    guard schedule.hasWork else { return StepWork() }
    let shape = schedule.workShape
    var work = StepWork()
    work.multiplyAdds = try Catalog.operation(of: node).cost(
      operands: graph.operandTypes(of: node), results: graph.resultTypes(of: node)
    ).multiplyAdds
    work.performedMultiplyAdds = Self.scaled(work.multiplyAdds, by: shape.multiplyAdds)
    work.arithmetic = schedule.arithmetic
    for value in node.presentOperands + node.results {
      guard let bytes = graph.type(of: value).storedByteCount else { continue }
      if bytes.isBatch {
        work.activationBytes = Self.sum(work.activationBytes, bytes.coefficient)
      } else {
        let isParameter = graph[value].parameter != nil
        work.weightBytes = Self.sum(
          work.weightBytes, Self.scaled(bytes.coefficient, by: isParameter ? shape.weights : 1))
      }
    }
    return work
  }

  private static func scaled(_ count: Int, by factor: Double) -> Int {
    Int(exactly: (Double(count) * factor).rounded()) ?? .max
  }

  private static func sum(_ a: Int, _ b: Int) -> Int {
    let (sum, overflow) = a.addingReportingOverflow(b)
    return overflow ? .max : sum
  }
}
