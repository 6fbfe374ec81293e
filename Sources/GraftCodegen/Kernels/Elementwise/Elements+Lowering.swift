// Elementwise operators on plain values of any element type with broadcasting: casts, comparisons, selection,
// logical operators, and arithmetic on other types than float32. Scalar C, which the compiler vectorizes.

import GraftDiagnostics
import GraftIR
import GraftOps

/// An elementwise function of values of any types.
private struct ElementFunction {
  /// For the kernel's name, types included.
  var name: String
  /// C over a_value, b_value and so on.
  var expression: String
  /// Whether operands are read as numbers, or as the bits that hold them.
  var readsNumbers = true
  /// Whether the expression is a number of the result's type, and not the bits that hold it.
  var storesNumber = false
}

extension Lowering {
  mutating func lower(_ operation: Cast, _ node: Node) throws {
    let (input, output) = (try operand(0, of: node), try result(of: node))
    let (from, to) = (type(input).dtype, type(output).dtype)
    try mapElements(
      ElementFunction(
        name: "cast_\(from.rawValue)_to_\(to.rawValue)",
        expression: to.expression(castFrom: from, "a_value")),
      [input], to: output)
  }

  mutating func lower(comparison operation: any Comparison, _ node: Node) throws {
    let sign =
      switch operation {
      case is Equal: "=="
      case is Less: "<"
      case is Greater: ">"
      default: throw GraftError(.unsupported, "no kernel computes \(node.opcode)")
      }
    let a = try operand(0, of: node)
    try mapElements(
      ElementFunction(
        name: "\(node.opcode)_\(type(a).dtype.rawValue)", expression: "a_value \(sign) b_value"),
      [a, try operand(1, of: node)], to: try result(of: node))
  }

  mutating func lower(logical operation: any LogicalPair, _ node: Node) throws {
    let sign =
      switch operation {
      case is LogicalAnd: "&"
      case is LogicalOr: "|"
      case is LogicalXor: "^"
      default: throw GraftError(.unsupported, "no kernel computes \(node.opcode)")
      }
    try mapElements(
      ElementFunction(name: "\(node.opcode)_bool", expression: "a_value \(sign) b_value"),
      [try operand(0, of: node), try operand(1, of: node)], to: try result(of: node))
  }

  mutating func lowerNot(_ node: Node) throws {
    try mapElements(
      ElementFunction(name: "not_bool", expression: "!a_value"), [try operand(0, of: node)],
      to: try result(of: node))
  }

  mutating func lowerWhere(_ node: Node) throws {
    let output = try result(of: node)
    try mapElements(
      ElementFunction(
        name: "where_\(type(output).dtype.rawValue)", expression: "a_value ? b_value : c_value",
        readsNumbers: false),
      try (0..<3).map { try operand($0, of: node) }, to: output)
  }

  /// Arithmetic on other types than float32: of several operands the first two, then the result so far with
  /// each of the others.
  /// - Parameter expression: C over a_value and b_value for a type; nil if there is none.
  mutating func mapScalars(_ node: Node, _ expression: (DataType) -> String?) throws {
    let output = try result(of: node)
    let dtype = type(output).dtype
    let operands = node.presentOperands
    guard let computed = expression(dtype) else {
      throw GraftError(.unsupported, "no kernel computes \(node.opcode) on \(type(output))")
    }
    let isVariadic = try Catalog.operation(of: node) is any VariadicElementwise
    let function = ElementFunction(
      name: "\(node.opcode)_\(dtype.rawValue)",
      expression: isVariadic && operands.count == 1 ? "a_value" : computed, storesNumber: true)
    try mapElements(function, Array(operands.prefix(2)), to: output)
    guard isVariadic else { return }
    for operand in operands.dropFirst(2) {
      try mapElements(function, [output, operand], to: output)
    }
  }

  mutating func lower(power operation: TensorPower, _ node: Node) throws {
    let output = try result(of: node)
    guard type(output).dtype == .float32 else {
      return try mapScalars(node) { ScalarFunctions.pair(operation, $0) }
    }
    try map(
      MapFunction(name: "pow", expression: "power_of_each(a_value, b_value)"),
      [try operand(0, of: node), try operand(1, of: node)], to: output)
  }

  mutating func lower(scalar operation: any Operator, _ node: Node) throws {
    try mapScalars(node) { ScalarFunctions.pair(operation, $0) }
  }

  private mutating func mapElements(
    _ function: ElementFunction, _ operands: [ValueID], to result: ValueID
  ) throws {
    guard (operands + [result]).allSatisfy({ type($0).layout.isPlain }) else {
      throw GraftError(.inconsistency, "this kernel needs plain layouts")
    }
    let shape = type(result).shape
    let strides = try operands.map { try type($0).shape.broadcastStrides(to: shape) }
    let loop = try StridedLoop(
      extents: shape.dimensions, strides: strides + [try shape.plainStrides()]
    ).split(longest: 4096)
    let names = Array(Self.operandNames.prefix(operands.count))
    let storages = operands.map { type($0).dtype.storage.cType }
    let element = type(result).dtype.storage.cType
    let rows = zip(names, storages).enumerated().map { index, entry in
      "const \(entry.1) *\(entry.0)_row = \(entry.0) + \(loop.offset(index));"
    }
    let loads = zip(names, operands).enumerated().map { index, entry in
      let dtype = type(entry.1).dtype
      let stride = loop.innerStride(index)
      let stored = "\(entry.0)_row[\(stride == 1 ? "i" : "(ptrdiff)i * \(stride.step)")]"
      return function.readsNumbers
        ? "const \(dtype.numberType) \(entry.0)_value = \(dtype.number(stored));"
        : "const \(dtype.storage.cType) \(entry.0)_value = \(stored);"
    }
    let extents = loop.extents.map { $0.isBatch ? "n" : "\($0.coefficient)" }.joined(separator: "x")
    let constants = loop.innerCount
    let batch = BatchParameter(readBy: rows + loads + [constants])
    let kernel = try library.add(
      "\(function.name)_\(extents.isEmpty ? "1" : extents)",
      algorithm: "rows of \(loop.innerExtent) elements, threads split rows"
    ) { name in
      try Templates.mapElements.render([
        "banner": "\(function.name): \(function.expression).", "name": name,
        "parameters": zip(names, storages).map { "const \($1) *\($0)," }.joined(separator: " "),
        "element": element, "constants": constants, "batch": batch.declaration,
        "row_addresses": rows.joined(separator: "\n"), "loads": loads.joined(separator: "\n"),
        "expression": function.storesNumber
          ? type(result).dtype.bits(of: function.expression) : function.expression,
      ])
    }
    var arguments: [String] = []
    for (operand, storage) in zip(operands, storages) {
      arguments.append("(const \(storage) *)(const void *)\(try address(operand))")
    }
    arguments.append("(\(element) *)(void *)\(try address(result))")
    emit(kernel, arguments + batch.arguments, units: loop.rows)
  }
}

extension DataType {
  /// The C type of an element as a number.
  var numberType: String {
    self == .float16 || self == .bfloat16 ? "float" : storage.cType
  }

  /// C of the number that the bits `stored` hold.
  func number(_ stored: String) -> String {
    switch self {
    case .float16: "from_float16(\(stored))"
    case .bfloat16: "from_bfloat16(\(stored))"
    case .bool: "\(stored) != 0"
    default: stored
    }
  }

  /// C of the bits that hold a number of this type.
  func bits(of number: String) -> String {
    switch self {
    case .float16: "to_float16(\(number))"
    case .bfloat16: "to_bfloat16(\(number))"
    default: number
    }
  }

  /// C of the bits of this type that hold a number of the type `from`. Numbers outside an integer type give
  /// some number of it, as in onnxruntime.
  fileprivate func expression(castFrom from: DataType, _ value: String) -> String {
    switch self {
    case .bool: return "\(value) != 0"
    case .float16: return "to_float16((float)\(value))"
    case .bfloat16: return "to_bfloat16((float)\(value))"
    case .float64, .float32: return "(\(storage.cType))\(value)"
    default: break
    }
    guard from.isFloatingPoint else { return "(\(storage.cType))\(value)" }
    switch self {
    case .int64, .uint32: return "(\(storage.cType))to_int64(\(value))"
    case .uint64: return "to_uint64(\(value))"
    default: return "(\(storage.cType))to_int32(\(value))"
    }
  }
}

extension Templates {
  static let mapElements = Template("map_elements.c", PackageResources.map_elements_c_in)
}
