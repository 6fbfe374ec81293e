// Names for the values of an optimized network by which a bundle remembers their ranges.

import Foundation
import GraftIR
import GraftOps

/// A name for every float32 value of an optimized network that is not a parameter. It is the same in every
/// compilation of the same source, whatever the input shapes: the value's name in the imported file, and for values
/// that have none the operator with the imported nodes whose work it does.
struct ValueKeys {
  /// In the order of the graph: inputs, then results in execution order.
  private(set) var values: [(key: String, value: ValueID)] = []
  private(set) var keys: [ValueID: String] = [:]

  init(_ graph: Graph) {
    var used: Set<String> = []
    var counts: [String: Int] = [:]
    for value in graph.inputs + graph.nodes.flatMap(\.results)
    where graph.type(of: value).dtype == .float32 {
      let base = graph[value].name ?? Self.description(of: value, in: graph)
      var key = base
      while !used.insert(key).inserted {
        counts[base, default: 1] += 1
        key = "\(base) #\(counts[base] ?? 0)"
      }
      values.append((key, value))
      keys[value] = key
    }
  }

  private static func description(of value: ValueID, in graph: Graph) -> String {
    guard case .result(let id, let index) = graph[value].definition else { return "" }
    let node = graph[id]
    let result = index == 0 ? "" : ", result \(index)"
    return "\(node.opcode.rawValue)\(separator)\(node.origins.joined(separator: ", "))\(result)"
  }

  /// Between the operator and the nodes of a value without a name.
  private static let separator = " of "

  /// Whether `key` can be that of a value in a network that was imported as one of `graphs`.
  /// - Parameter names: of the values of these graphs.
  static func isPossible(_ key: String, names: Set<String>) -> Bool {
    if names.contains(key) { return true }
    if let number = key.range(of: " #", options: .backwards),
      Int(key[number.upperBound...]) != nil, names.contains(String(key[..<number.lowerBound]))
    {
      return true
    }
    guard let end = key.range(of: separator) else { return false }
    return Catalog.type(of: Opcode(rawValue: String(key[..<end.lowerBound]))) != nil
  }
}
