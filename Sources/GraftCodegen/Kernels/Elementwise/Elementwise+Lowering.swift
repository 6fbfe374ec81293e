// Which C each elementwise operator is.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Lowering {
  mutating func lower(unary operation: any UnaryElementwise, _ node: Node) throws {
    let operand = try operand(0, of: node)
    let opcode = node.opcode.rawValue
    let function: MapFunction
    if let activation = operation.fusedActivation {
      function = MapFunction(name: "map", expression: "a_value", activation: activation)
    } else {
      function = MapFunction(name: opcode, expression: try expression(of: operation, opcode))
    }
    try map(function, [operand], to: try result(of: node))
  }

  private func expression(of operation: any UnaryElementwise, _ opcode: String) throws -> String {
    let largest = Double(Float.greatestFiniteMagnitude)
    return switch operation {
    case let operation as Elu: "elu(a_value, \(CText.float(operation.alpha)))"
    case let operation as Power:
      switch operation.exponent {
      case 0: "((void)a_value, splat(1.0f))"
      case 2: "a_value * a_value"
      case 0.5: "__builtin_elementwise_sqrt(a_value)"
      default:
        // The largest floats do what infinite exponents do.
        "power_of(a_value, \(CText.float(max(-largest, min(largest, operation.exponent)))))"
      }
    case is Exponential: "exp_of(a_value)"
    case is SquareRoot: "__builtin_elementwise_sqrt(a_value)"
    case is Reciprocal: "1.0f / a_value"
    case is Negate: "-a_value"
    case is AbsoluteValue: "absolute(a_value)"
    case is Floor: "__builtin_elementwise_floor(a_value)"
    case is Ceiling: "__builtin_elementwise_ceil(a_value)"
    case let operation as RoundTo:
      operation.dtype == .float16 ? "nearest_float16(a_value)" : "nearest_bfloat16(a_value)"
    case is ErrorFunction: "error_function(a_value)"
    default:
      throw GraftError(.unsupported, "no kernel computes \(opcode) on floating-point numbers")
    }
  }

  mutating func lower(binary operation: any BinaryElementwise, _ node: Node) throws {
    let sign =
      switch operation {
      case is Add: "+"
      case is Subtract: "-"
      case is Multiply: "*"
      case is Divide: "/"
      default:
        throw GraftError(.unsupported, "no kernel computes \(node.opcode)")
      }
    let function = MapFunction(
      name: node.opcode.rawValue, expression: "a_value \(sign) b_value",
      activation: operation.activation)
    try map(
      function, [try operand(0, of: node), try operand(1, of: node)], to: try result(of: node))
  }

  /// The first two operands, then the result so far with each of the others.
  mutating func lower(variadic operation: any VariadicElementwise, _ node: Node) throws {
    let expression =
      switch operation {
      case is Sum: "a_value + b_value"
      case is Maximum: "largest(a_value, b_value)"
      case is Minimum: "smallest(a_value, b_value)"
      default:
        throw GraftError(.unsupported, "no kernel computes \(node.opcode)")
      }
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
    let function = MapFunction(
      name: "scale_shift", expression: "a_value * b_value + c_value",
      activation: operation.activation)
    try map(
      function,
      [
        .value(try operand(0, of: node)), .channels(try operand(1, of: node)),
        .channels(try operand(2, of: node)),
      ], to: try result(of: node))
  }
}
