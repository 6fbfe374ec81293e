// Sums and products of all elements before along an axis.

import GraftDiagnostics
import GraftIR

extension ONNXFunction {
  static let scans: [ONNXFunction] = [
    /// ONNX CumSum, opsets 11, 14; https://onnx.ai/onnx/operators/onnx__CumSum.html. Of floating-point elements a product
    /// with a triangle of ones.
    ONNXFunction("CumSum", since: 11) { f in
      let x = try f.input(0)
      let scan = try Scan(f.node, x.type)
      guard x.type.dtype.isFloatingPoint, scan.extent <= 1 << 11 else {
        return [try f.scanned(x, scan, by: Add(), neutral: 0)]
      }
      let rows = (0..<scan.extent).map { from in
        (0..<scan.extent).map { to -> Double in
          let (first, last) = scan.isReverse ? (to, from) : (from, to)
          return first < last || (first == last && !scan.isExclusive) ? 1 : 0
        }
      }
      let triangle = try f.matrix(rows, like: x)
      return [
        try f.movedToEnd(scan.axis, of: x) { f, moved in
          let rows = moved.rank == 1 ? try f.reshape(moved, to: [1, moved.shape[0]]) : moved
          return try f.reshape(try f.apply(MatrixMultiply(), rows, triangle), to: moved.shape)
        }
      ]
    },
    /// ONNX CumProd, opset 26; https://onnx.ai/onnx/operators/onnx__CumProd.html
    ONNXFunction("CumProd", since: 26) { f in
      let x = try f.input(0)
      return [try f.scanned(x, try Scan(f.node, x.type), by: Multiply(), neutral: 1)]
    },
  ]
}

/// Along which axis, and from which end.
private struct Scan {
  let axis: Int
  let extent: Int
  /// Whether an element does not count at its own place.
  let isExclusive: Bool
  /// Whether it is of the elements behind.
  let isReverse: Bool

  init(_ node: ONNXNode, _ x: TensorType) throws {
    guard let stated = try node.fixedIntegers(1, named: "axis")?.first else {
      throw GraftError(.invalidModel, "input 1 is missing")
    }
    axis = try x.shape.axis(stated)
    guard let extent = x.shape[axis].constant else {
      throw GraftError(.unsupported, "\(node.opType) along axis \(axis) of \(x)")
    }
    self.extent = extent
    isExclusive = try node.flag("exclusive", default: false)
    isReverse = try node.flag("reverse", default: false)
  }
}

extension FunctionBuilder {
  /// Combines with the element before, then with what is two before, four … (Hillis and Steele 1986).
  fileprivate mutating func scanned(
    _ x: Term, _ scan: Scan, by pair: any Operator, neutral: Int
  ) throws -> Term {
    guard scan.extent > 0 else { return try apply(Identity(), x) }
    let value: ScalarConstant =
      x.type.dtype.isFloatingPoint ? .real(Double(neutral)) : .integer(neutral)
    func shifted(_ y: Term, by distance: Int) throws -> Term {
      var pads = Array(repeating: 0, count: 2 * x.rank)
      pads[scan.axis] = scan.isReverse ? -distance : distance
      pads[x.rank + scan.axis] = -pads[scan.axis]
      return try apply(Pad(pads: pads, value: value), y)
    }
    var y = scan.isExclusive ? try shifted(x, by: 1) : try apply(Identity(), x)
    var distance = 1
    while distance < scan.extent {
      y = try apply(pair, y, try shifted(y, by: distance))
      distance *= 2
    }
    return y
  }
}
