// Central differences and the comparison that the tests of gradients share.

import GraftOps
import Testing

/// The derivative of `quantity` by every element of the input `name`: (q(x + h) − q(x − h)) / 2h.
func differences(
  of name: String, _ inputs: [String: HostTensor], step: Double = 1e-5,
  _ quantity: ([String: HostTensor]) throws -> Double
) throws -> [Double] {
  guard case .float64(let tensor)? = inputs[name] else { return [] }
  return try tensor.elements.indices.map { index in
    let values = try [step, -step].map { change in
      var moved = tensor
      moved.elements[index] += change
      var all = inputs
      all[name] = .float64(moved)
      return try quantity(all)
    }
    return (values[0] - values[1]) / (2 * step)
  }
}

/// Expects every element within 1e-4 of the largest one.
func expectClose(
  _ found: [Double], _ expected: [Double], _ what: String,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  #expect(found.count == expected.count, "\(what)", sourceLocation: sourceLocation)
  let scale = expected.map(abs).max() ?? 0
  let worst = zip(found, expected).map { abs($0 - $1) }.max() ?? 0
  #expect(
    worst <= 1e-4 * max(scale, 1e-3), "\(what): differs by \(worst) of \(scale)",
    sourceLocation: sourceLocation)
}
