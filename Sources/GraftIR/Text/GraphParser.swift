// Parses the IR's text form. The graph has no parameter bytes; the caller binds them by name. Checks only the
// syntax; the operator catalog checks the rest.

import GraftDiagnostics

extension Graph {
  /// Parses the text form.
  /// - Throws: ``GraftError`` of kind `invalidGraph` with the line number, what was found and what was
  ///   expected.
  public init(parsing text: String) throws {
    var parser = try GraphParser(text)
    self = try parser.parse()
  }
}

private struct GraphParser {
  private var lexer: GraphLexer
  private var token: Token
  private var values: [Int: ValueID] = [:]

  init(_ text: String) throws {
    lexer = GraphLexer(text)
    token = try lexer.next()
  }

  mutating func parse() throws -> Graph {
    try expect(word: "graph")
    var graph = Graph(name: try string())
    try expect("{")
    while token != .symbol("}") {
      if token == .word("output") {
        try advance()
        let name = try string()
        try expect("=")
        graph.outputs.append(GraphOutput(name: name, value: try reference()))
      } else {
        try definition(into: &graph)
      }
    }
    try advance()
    guard token == .end else { throw failure("nothing after the graph") }
    return graph
  }

  private mutating func definition(into graph: inout Graph) throws {
    var names: [(number: Int, name: String?)] = [try definedName()]
    while token == .symbol(",") {
      try advance()
      names.append(try definedName())
    }
    try expect("=")
    guard case .word(let opcode) = token else { throw failure("an operator") }
    try advance()
    switch opcode {
    case "input":
      let name = try soleName(names)
      try expect(":")
      try define(names[0].number, graph.addInput(name, try type()))
    case "parameter":
      let name = try soleName(names)
      let attributes = try attributeBlock()
      try expect(":")
      let parameter = Parameter(
        isTrained: try attributes.bool("trained", default: false),
        group: attributes["group"] == nil ? nil : try attributes.string("group"),
        derivation: attributes["derivation"] == nil ? nil : try attributes.string("derivation"),
        isLiteral: try attributes.bool("literal", default: false))
      try define(names[0].number, graph.addParameter(name, try type(), parameter))
    default:
      try node(Opcode(rawValue: opcode), names, into: &graph)
    }
  }

  private mutating func node(
    _ opcode: Opcode, _ names: [(number: Int, name: String?)], into graph: inout Graph
  ) throws {
    try expect("(")
    var operands: [ValueID?] = []
    while token != .symbol(")") {
      if token == .symbol("_") {
        operands.append(nil)
        try advance()
      } else {
        operands.append(try reference())
      }
      guard token == .symbol(",") else { break }
      try advance()
    }
    try expect(")")
    let attributes = try attributeBlock()
    try expect(":")
    var types = [try type()]
    while token == .symbol(",") {
      try advance()
      types.append(try type())
    }
    guard types.count == names.count else {
      throw failure("one type per result (\(names.count))")
    }
    var origins: [String] = []
    if token == .word("from") {
      try advance()
      origins.append(try string())
      while token == .symbol(",") {
        try advance()
        origins.append(try string())
      }
    }
    let results = graph.addNode(
      opcode, operands, attributes, types: types, names: names.map(\.name), origins: origins)
    for (name, id) in zip(names, results) { try define(name.number, id) }
    guard token == .word("kernel") else { return }
    try advance()
    let note = try KernelNote(attributes: attributeBlock())
    if let first = results.first, case .result(let node, _) = graph[first].definition {
      graph[node].kernel = note
    }
  }

  // MARK: Parts

  private mutating func definedName() throws -> (number: Int, name: String?) {
    guard case .value(let number) = token else { throw failure("a value such as %1") }
    try advance()
    guard case .string(let name) = token else { return (number, nil) }
    try advance()
    return (number, name)
  }

  private func soleName(_ names: [(number: Int, name: String?)]) throws -> String {
    guard names.count == 1, let name = names[0].name else {
      throw failure("one value with a name")
    }
    return name
  }

  private mutating func define(_ number: Int, _ id: ValueID) throws {
    guard values.updateValue(id, forKey: number) == nil else {
      throw GraftError(.invalidGraph, "line \(lexer.line): %\(number) is defined twice")
    }
  }

  private mutating func reference() throws -> ValueID {
    guard case .value(let number) = token else { throw failure("a value such as %1") }
    guard let id = values[number] else {
      throw GraftError(.invalidGraph, "line \(lexer.line): %\(number) is read before it is defined")
    }
    try advance()
    return id
  }

  private mutating func type() throws -> TensorType {
    guard case .word(let name) = token, let dtype = DataType(rawValue: name) else {
      throw failure("an element type")
    }
    try advance()
    let shape = try shape()
    guard token == .symbol("@") else { return TensorType(dtype, shape) }
    try advance()
    guard case .word(let text) = token, let layout = Layout(text) else { throw failure("a layout") }
    try advance()
    return TensorType(dtype, shape, layout: layout)
  }

  private mutating func shape() throws -> TensorShape {
    var dimensions: [Dimension] = []
    try expect("[")
    while token != .symbol("]") {
      switch token {
      case .number(let text):
        guard let extent = Int(text) else { throw failure("an extent") }
        dimensions.append(Dimension(extent))
      case .word(let text):
        guard text.hasSuffix("N"), let multiple = text == "N" ? 1 : Int(text.dropLast()) else {
          throw failure("an extent")
        }
        dimensions.append(.batch(times: multiple))
      default: throw failure("an extent")
      }
      try advance()
      guard token == .symbol(",") else { break }
      try advance()
    }
    try expect("]")
    return TensorShape(dimensions)
  }

  private mutating func attributeBlock() throws -> Attributes {
    var attributes = Attributes()
    guard token == .symbol("{") else { return attributes }
    try advance()
    while token != .symbol("}") {
      guard case .word(let name) = token, attributes[name] == nil else {
        throw failure("an attribute name that is not a duplicate")
      }
      try advance()
      try expect("=")
      attributes[name] = try attributeValue()
      guard token == .symbol(",") else { break }
      try advance()
    }
    try expect("}")
    return attributes
  }

  private mutating func attributeValue() throws -> AttributeValue {
    switch token {
    case .string(let text):
      try advance()
      return .string(text)
    case .number(let text):
      try advance()
      if let value = Int(text) { return .int(value) }
      guard let value = Double(text) else { throw failure("a number") }
      return .float(value)
    case .symbol("["): return .ints(try list { try $0.integer() })
    case .word(let word):
      try advance()
      switch word {
      case "true": return .bool(true)
      case "false": return .bool(false)
      case "f": return .floats(try list { try $0.real() })
      case "s": return .strings(try list { try $0.string() })
      case "shape": return .shape(try shape())
      case "type":
        guard case .word(let name) = token, let dtype = DataType(rawValue: name) else {
          throw failure("an element type")
        }
        try advance()
        return .type(dtype)
      default:
        guard let value = Double(word) else { throw failure("an attribute's value") }
        return .float(value)
      }
    default: throw failure("an attribute's value")
    }
  }

  private mutating func list<Element>(
    _ element: (inout GraphParser) throws -> Element
  ) throws -> [Element] {
    var elements: [Element] = []
    try expect("[")
    while token != .symbol("]") {
      elements.append(try element(&self))
      guard token == .symbol(",") else { break }
      try advance()
    }
    try expect("]")
    return elements
  }

  private mutating func integer() throws -> Int {
    guard case .number(let text) = token, let value = Int(text) else { throw failure("an integer") }
    try advance()
    return value
  }

  private mutating func real() throws -> Double {
    switch token {
    case .number(let text), .word(let text):
      guard let value = Double(text) else { throw failure("a number") }
      try advance()
      return value
    default: throw failure("a number")
    }
  }

  private mutating func string() throws -> String {
    guard case .string(let text) = token else { throw failure("a string") }
    try advance()
    return text
  }

  private mutating func expect(_ symbol: Character) throws {
    guard token == .symbol(symbol) else { throw failure("\"\(symbol)\"") }
    try advance()
  }

  private mutating func expect(word: String) throws {
    guard token == .word(word) else { throw failure("\"\(word)\"") }
    try advance()
  }

  private mutating func advance() throws { token = try lexer.next() }

  private func failure(_ expected: String) -> GraftError {
    GraftError(.invalidGraph, "line \(lexer.line): expected \(expected), found \(token.shown)")
  }
}

extension Layout {
  /// Parses `c8`, `c16b1x1` or `c16b1x1of128`.
  init?(_ text: String) {
    let ends = text.components(separatedBy: "of")
    guard ends.count <= 2 else { return nil }
    var value = 0
    if ends.count == 2 {
      guard let stated = Int(ends[1]) else { return nil }
      value = stated
    }
    let parts = ends[0].split(separator: "b", omittingEmptySubsequences: false)
    guard parts.count <= 2, parts[0].first == "c", let block = Int(parts[0].dropFirst()), block >= 1
    else { return nil }
    self.init(channelBlock: block, borderValue: value)
    guard parts.count == 2 else { return }
    let border = parts[1].split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
    guard border.count == 2, let height = border[0], let width = border[1], height >= 0, width >= 0
    else { return nil }
    self.init(
      channelBlock: block, borderHeight: height, borderWidth: width, borderValue: value)
  }
}
