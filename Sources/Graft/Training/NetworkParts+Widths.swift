// The widths of the values at the freeze line.

import GraftAutodiff
import GraftDiagnostics
import GraftIR

extension NetworkParts {
  /// Floats per item, for each value at the freeze line.
  /// - Throws: ``GraftError`` of kind `unsupported` that names a value that is not one row per item.
  package func cutWidths() throws -> [Int] {
    try tail.inputs.map { id in
      let shape = tail.type(of: id).shape
      guard shape.rank >= 1, shape[0] == .batch,
        let width = TensorShape(Array(shape.dimensions.dropFirst())).elementCount?.constant
      else {
        throw GraftError(
          .unsupported,
          "the value \((tail[id].name ?? "").quotedForDisplay) at the freeze line is "
            + "\(tail.type(of: id)); its first axis must be the batch")
      }
      return width
    }
  }
}
