// The text form of a graph: deterministic, complete except for the bytes of parameters, and parsed by
// GraphParser to an equal graph. Values are numbered in the order in which they are printed.

import GraftDiagnostics

extension Graph: CustomStringConvertible {
  /// The text form; see docs/ir.md for the grammar.
  public var text: String { GraphPrinter(self).print() }

  public var description: String { text }

  /// The line of one node as ``text`` prints it.
  public func line(of node: Node) -> String { GraphPrinter(self).line(node) }

  /// The line of every node as ``text`` prints it.
  public func makeLines() -> [NodeID: String] {
    let printer = GraphPrinter(self)
    return Dictionary(uniqueKeysWithValues: nodes.map { ($0.id, printer.line($0)) })
  }

  /// The number that ``text`` gives a value.
  public func makeValueNumbers() -> [ValueID: Int] { GraphPrinter(self).numbers }
}

extension Graph: Equatable {
  public static func == (left: Graph, right: Graph) -> Bool { left.text == right.text }
}

struct GraphPrinter {
  private let graph: Graph
  let numbers: [ValueID: Int]

  init(_ graph: Graph) {
    self.graph = graph
    var numbers: [ValueID: Int] = [:]
    func number(_ id: ValueID) { if numbers[id] == nil { numbers[id] = numbers.count } }
    graph.inputs.forEach(number)
    graph.parameters.forEach(number)
    for node in graph.nodes { node.results.forEach(number) }
    self.numbers = numbers
  }

  func print() -> String {
    var lines = ["graph \(quoted(graph.name)) {"]
    for id in graph.inputs {
      lines.append("  \(definition(id)) = input : \(graph.type(of: id))")
    }
    for id in graph.parameters { lines.append("  \(parameterLine(id))") }
    for node in graph.nodes { lines.append("  \(line(node))") }
    for output in graph.outputs {
      lines.append("  output \(quoted(output.name)) = \(reference(output.value))")
    }
    lines.append("}")
    return lines.joined(separator: "\n") + "\n"
  }

  private func parameterLine(_ id: ValueID) -> String {
    let value = graph[id]
    guard let parameter = value.parameter else { return "" }
    var attributes = Attributes()
    if parameter.isTrained { attributes["trained"] = .bool(true) }
    if let group = parameter.group { attributes["group"] = .string(group) }
    if let derivation = parameter.derivation { attributes["derivation"] = .string(derivation) }
    if parameter.isLiteral { attributes["literal"] = .bool(true) }
    return "\(definition(id)) = parameter\(block(attributes)) : \(value.type)"
  }

  func line(_ node: Node) -> String {
    let results = node.results.map { graph.contains($0) ? definition($0) : "%?" }
    let operands = node.operands.map { $0.map(reference) ?? "_" }
    let types = node.results.map { graph.contains($0) ? graph.type(of: $0).description : "?" }
    let origins =
      node.origins.isEmpty ? "" : " from " + node.origins.map(quoted).joined(separator: ", ")
    let kernel = node.kernel.map { " kernel" + block($0.attributes) } ?? ""
    return results.joined(separator: ", ") + " = \(node.opcode)("
      + operands.joined(separator: ", ") + ")\(block(node.attributes)) : "
      + types.joined(separator: ", ") + origins + kernel
  }

  private func definition(_ id: ValueID) -> String {
    guard let name = graph[id].name else { return reference(id) }
    return "\(reference(id)) \(quoted(name))"
  }

  private func reference(_ id: ValueID) -> String { numbers[id].map { "%\($0)" } ?? "%?" }

  private func block(_ attributes: Attributes) -> String {
    guard !attributes.isEmpty else { return "" }
    let parts = attributes.values.map { "\($0.key)=\(print($0.value))" }
    return " {" + parts.joined(separator: ", ") + "}"
  }

  private func print(_ value: AttributeValue) -> String {
    switch value {
    case .bool(let value): value ? "true" : "false"
    case .int(let value): "\(value)"
    case .ints(let values): "[" + values.map(String.init).joined(separator: ", ") + "]"
    case .float(let value): print(value)
    case .floats(let values): "f[" + values.map(print).joined(separator: ", ") + "]"
    case .string(let value): quoted(value)
    case .strings(let values): "s[" + values.map(quoted).joined(separator: ", ") + "]"
    case .type(let type): "type \(type.rawValue)"
    case .shape(let shape): "shape \(shape)"
    }
  }

  /// The shortest decimal that parses to the same bits, with a point or an exponent, or a word such as `inf`.
  private func print(_ value: Double) -> String {
    if value.isNaN { return "nan" }
    if value.isInfinite { return value < 0 ? "-inf" : "inf" }
    return "\(value)"
  }

  private func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\t": result += "\\t"
      case "\r": result += "\\r"
      default:
        if scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value) {
          result += "\\u{\(String(scalar.value, radix: 16))}"
        } else {
          result.unicodeScalars.append(scalar)
        }
      }
    }
    return result + "\""
  }
}
