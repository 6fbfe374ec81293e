// Index arithmetic that Swift evaluates and C repeats: one description of a memory order, for packing at
// compile time and for generated code that packs at run time.

/// An integer that depends on named others, none of them negative.
indirect enum IndexExpression: Hashable {
  case number(Int)
  case name(String)
  case sum(IndexExpression, IndexExpression)
  case difference(IndexExpression, IndexExpression)
  case product(IndexExpression, IndexExpression)
  case quotient(IndexExpression, IndexExpression)
  case remainder(IndexExpression, IndexExpression)
  case smaller(IndexExpression, IndexExpression)
  /// The element of a table at an index.
  case element(IndexTable, IndexExpression)

  /// The value where names have these values.
  /// - Returns: 0 for a name that has none, an index past a table's end, and a division by 0.
  func value(_ names: [String: Int]) -> Int {
    switch self {
    case .number(let number): return number
    case .name(let name): return names[name] ?? 0
    case .sum(let a, let b): return a.value(names) + b.value(names)
    case .difference(let a, let b): return a.value(names) - b.value(names)
    case .product(let a, let b): return a.value(names) * b.value(names)
    case .quotient(let a, let b):
      let divisor = b.value(names)
      return divisor == 0 ? 0 : a.value(names) / divisor
    case .remainder(let a, let b):
      let divisor = b.value(names)
      return divisor == 0 ? 0 : a.value(names) % divisor
    case .smaller(let a, let b): return min(a.value(names), b.value(names))
    case .element(let table, let index):
      let position = index.value(names)
      return table.elements.indices.contains(position) ? table.elements[position] : 0
    }
  }

  /// The C of it.
  var text: String {
    switch self {
    case .number(let number): "\(number)"
    case .name(let name): name
    case .sum(let a, let b): "\(a.text) + \(b.text)"
    case .difference(let a, let b): "\(a.text) - \(b.factor)"
    case .product(let a, let b): "\(a.factor) * \(b.factor)"
    case .quotient(let a, let b): "\(a.factor) / \(b.atom)"
    case .remainder(let a, let b): "\(a.factor) % \(b.atom)"
    case .smaller(let a, let b): "smaller(\(a.text), \(b.text))"
    case .element(let table, let index): "\(table.name)[\(index.text)]"
    }
  }

  /// The text as a factor.
  private var factor: String {
    switch self {
    case .sum, .difference: "(\(text))"
    default: text
    }
  }

  /// The text as a divisor.
  private var atom: String {
    switch self {
    case .number, .name, .smaller, .element: text
    default: "(\(text))"
    }
  }
}

/// A constant table of C.
struct IndexTable: Hashable {
  var name: String
  var elements: [Int]

  var definition: String {
    "static const unsigned \(name)[\(elements.count)] = {\n    \(CText.table(elements))};"
  }
}

extension IndexExpression {
  static func + (a: Self, b: Self) -> Self { .sum(a, b) }
  static func + (a: Self, b: Int) -> Self { .sum(a, .number(b)) }
  static func - (a: Self, b: Self) -> Self { .difference(a, b) }
  static func - (a: Int, b: Self) -> Self { .difference(.number(a), b) }
  static func * (a: Self, b: Self) -> Self { .product(a, b) }
  static func * (a: Self, b: Int) -> Self { .product(a, .number(b)) }
  static func / (a: Self, b: Int) -> Self { .quotient(a, .number(b)) }
  static func % (a: Self, b: Int) -> Self { .remainder(a, .number(b)) }

  static func smaller(_ a: Int, _ b: Self) -> Self { .smaller(.number(a), b) }
}

/// Named numbers that are computed one after the other, each from those before it.
struct IndexSteps {
  private(set) var steps: [(name: String, value: IndexExpression)] = []

  /// Adds a number.
  /// - Returns: the expression that names it.
  @discardableResult
  mutating func add(_ name: String, _ value: IndexExpression) -> IndexExpression {
    steps.append((name, value))
    return .name(name)
  }

  /// The values of all, where `names` have theirs.
  func values(_ names: [String: Int]) -> [String: Int] {
    var names = names
    for (name, value) in steps { names[name] = value.value(names) }
    return names
  }

  /// The C that computes them.
  var text: String {
    steps.map { "const size_t \($0.name) = \($0.value.text);" }.joined(separator: "\n")
  }
}
