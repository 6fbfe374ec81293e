// Broadcasting before opset 7: the second input is repeated along the axes that it lacks only where the attribute
// `broadcast` says so, and `axis` says where its own axes stand.

import GraftDiagnostics
import GraftIR

extension ONNXNode {
  /// An operator of two inputs of one rank or, before opset 7, of the second aligned to the first.
  ///
  /// Source: ONNX opsets 1 and 6 of Add, And, Div, Equal, Greater, Less, Mul, Or, Pow, Sub and Xor.
  /// - Throws: ``GraftError`` of kind `invalidModel` where the shapes do not fit.
  func broadcastingPair(_ operation: any Operator) throws -> ImportedOperator {
    var imported = ImportedOperator(operation, operands: [0, 1])
    guard opset < 7 else { return imported }
    let a = try input(0).type.shape
    let b = try input(1).type.shape
    guard try flag("broadcast", default: false) else {
      guard a == b else {
        throw GraftError(
          .invalidModel, "the inputs have shapes \(a) and \(b), and broadcast is 0")
      }
      return imported
    }
    let start =
      try attributes["axis"].map { _ in try a.axis(int("axis", default: 0)) }
      ?? a.rank - b.rank
    guard start >= 0, start + b.rank <= a.rank else {
      throw GraftError(.invalidModel, "\(b) does not broadcast to \(a) at axis \(start)")
    }
    let missing = a.rank - start - b.rank
    if missing > 0 {
      imported.inputShapes[1] = TensorShape(
        b.dimensions + Array(repeating: Dimension(1), count: missing))
    }
    return imported
  }
}
