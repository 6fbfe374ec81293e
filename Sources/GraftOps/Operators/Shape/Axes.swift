// Lists of axes, which many operators take.

import GraftDiagnostics
import GraftIR

/// Throws unless `axes` are different axes of a tensor of rank `rank` in ascending order.
func requireAxes(_ label: String, _ axes: [Int], rank: Int) throws {
  let inside = axes.allSatisfy { (0..<rank).contains($0) }
  try require(
    label, inside && zip(axes, axes.dropFirst()).allSatisfy { $0 < $1 },
    "axes \(axes) must be ascending axes of a tensor of rank \(rank)")
}

/// ONNX's axes, where negative ones count from the back, counted from the front and sorted.
func countFromFront(_ axes: [Int], rank: Int) throws -> [Int] {
  let result = try axes.map { axis in
    guard axis >= -rank, axis < rank else {
      throw GraftError(.invalidModel, "axis \(axis) is outside a tensor of rank \(rank)")
    }
    return axis < 0 ? axis + rank : axis
  }.sorted()
  guard Set(result).count == result.count else {
    throw GraftError(.invalidModel, "axes \(axes) contain an axis twice")
  }
  return result
}
