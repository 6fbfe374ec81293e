// Operands and results that a node must have.

import GraftDiagnostics

extension Node {
  /// The operand at `index`.
  /// - Throws: ``GraftError`` if it is absent.
  public func requiredOperand(_ index: Int) throws -> ValueID {
    guard let value = operand(index) else {
      throw GraftError(.invalidGraph, "\(opcode) lacks operand \(index)")
    }
    return value
  }

  /// The first result.
  public func requiredResult() throws -> ValueID {
    guard let value = results.first else {
      throw GraftError(.invalidGraph, "\(opcode) has no result")
    }
    return value
  }
}
