// Elementwise operators on floating-point numbers; which C each is says the table, ElementFunctions.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Lowering {
  mutating func lower(unary operation: any UnaryElementwise, _ node: Node) throws {
    let operand = try operand(0, of: node)
    guard try isFloat32(node) else {
      return try mapScalars(node) { ScalarFunctions.unary(operation, $0) }
    }
    let function = try Self.function(of: operation).function
    try map(function, [operand], to: try result(of: node))
  }

  private func isFloat32(_ node: Node) throws -> Bool {
    type(try result(of: node)).dtype == .float32
  }

  private func noKernel(_ node: Node) -> GraftError {
    GraftError(.unsupported, "no kernel computes \(node.opcode) on floating-point numbers")
  }

  mutating func lower(binary operation: any BinaryElementwise, _ node: Node) throws {
    guard try isFloat32(node) else {
      guard operation.activation == .none else { throw noKernel(node) }
      return try mapScalars(node) { ScalarFunctions.pair(operation, $0) }
    }
    let function = try Self.function(of: operation).function
    try map(
      function, [try operand(0, of: node), try operand(1, of: node)], to: try result(of: node))
  }

  /// The first two operands, then the result so far with each of the others.
  mutating func lower(variadic operation: any VariadicElementwise, _ node: Node) throws {
    guard try isFloat32(node) else {
      return try mapScalars(node) { ScalarFunctions.pair(operation, $0) }
    }
    guard let expression = ElementFunctions.pairs[node.opcode] else { throw noKernel(node) }
    let output = try result(of: node)
    let operands = node.presentOperands
    guard let first = operands.first else {
      throw GraftError(.invalidGraph, "\(node.opcode) has no operand")
    }
    guard operands.count > 1 else {
      return try map(MapFunction(name: "map", expression: "a_value"), [first], to: output)
    }
    let function = MapFunction(name: node.opcode.rawValue, expression: expression)
    try map(function, [first, operands[1]], to: output)
    for operand in operands.dropFirst(2) { try map(function, [output, operand], to: output) }
  }

  mutating func lower(_ operation: ScaleShift, _ node: Node) throws {
    let function = try Self.function(of: operation).function
    try map(
      function,
      [
        .value(try operand(0, of: node)), .channels(try operand(1, of: node)),
        .channels(try operand(2, of: node)),
      ], to: try result(of: node))
  }

  /// The elementwise function that an operator is, and the operands of it that are one number a channel.
  static func function(
    of operation: any Operator
  ) throws -> (function: MapFunction, vectors: [Int]) {
    let opcode = Swift.type(of: operation).opcode
    switch operation {
    case let shift as ScaleShift:
      return (
        MapFunction(
          name: "scale_shift", expression: "a_value * b_value + c_value",
          activation: shift.activation), [1, 2]
      )
    case let pair as any BinaryElementwise:
      guard let expression = ElementFunctions.pairs[opcode] else { break }
      return (
        MapFunction(
          name: opcode.rawValue, expression: expression, activation: pair.activation), []
      )
    case let unary as any UnaryElementwise:
      if let activation = unary.fusedActivation {
        return (MapFunction(name: "map", expression: "a_value", activation: activation), [])
      }
      guard let expression = ElementFunctions.unary[opcode]?.value(unary, "a_value") else { break }
      return (MapFunction(name: opcode.rawValue, expression: expression), [])
    default: break
    }
    throw GraftError(.unsupported, "no kernel computes \(opcode) element by element")
  }
}
