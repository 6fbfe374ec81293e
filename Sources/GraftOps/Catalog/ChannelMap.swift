// The channels of a network: which indices along the axes of its values belong together, so that structured
// pruning removes them together. Operators say what they do to channels (`Operator.relateChannels`).

import GraftDiagnostics
import GraftIR

/// The channels of a graph. A channel is a set of indices along axes of values: an output of a convolution,
/// the inputs of the convolutions that read it, its scale in a normalization. An index that is in no channel stays.
///
/// Channels are the classes of a union-find structure; each has one index of an axis as its representative.
public struct ChannelMap: Sendable {
  /// A set of indices that can only be removed together; equal if it is the same set, of one map.
  public struct Channel: Hashable, Comparable, Sendable {
    let index: Int
    public static func < (left: Self, right: Self) -> Bool { left.index < right.index }
  }

  private var parents: [Int] = []
  private var sizes: [Int] = []
  /// Why the channel of a representative stays.
  private var reasons: [Int: String] = [:]
  /// The entry of each index along an axis; nil for an axis whose indices all stay.
  private var axes: [ValueID: [Int: [Int]]] = [:]
  /// Axes of parameters that a node reads in a way that needs every index.
  private var closed: Set<ParameterAxis> = []

  init() {}

  private struct ParameterAxis: Hashable {
    var value: ValueID
    var axis: Int
  }

  /// The channels of a graph whose nodes are in execution order.
  /// - Throws: ``GraftError`` that names a node with an invalid attribute.
  public init(_ graph: Graph) throws {
    for node in graph.nodes {
      let operation = try Catalog.operation(of: node)
      var relations = ChannelRelations(of: node, in: graph)
      // The relations own the map during the call, so that changes do not copy it.
      swap(&relations.map, &self)
      try operation.relateChannels(&relations)
      relations.closeOthers()
      swap(&relations.map, &self)
    }
    for output in graph.outputs {
      fixAll(
        of: output.value, because: "they are the output \(output.name.quotedForDisplay)")
    }
  }

  /// The channel of each index along `axis` of a value; nil for an axis whose indices all stay.
  public func channels(of value: ValueID, axis: Int) -> [Channel]? {
    axes[value]?[axis]?.map { Channel(index: root($0)) }
  }

  /// The axes of a value that have channels, ascending.
  public func axes(of value: ValueID) -> [Int] { (axes[value] ?? [:]).keys.sorted() }

  /// Why a channel cannot be removed; nil if it can.
  public func reason(toKeep channel: Channel) -> String? { reasons[root(channel.index)] }

  // MARK: Building

  private func root(_ entry: Int) -> Int {
    var entry = entry
    while parents[entry] != entry { entry = parents[entry] }
    return entry
  }

  mutating func addEntries(_ count: Int) -> [Int] {
    let first = parents.count
    parents += first..<(first + count)
    sizes += Array(repeating: 1, count: count)
    return Array(first..<(first + count))
  }

  mutating func unite(_ one: Int, _ other: Int) {
    var (large, small) = (root(one), root(other))
    guard large != small else { return }
    if sizes[large] < sizes[small] { swap(&large, &small) }
    parents[small] = large
    sizes[large] += sizes[small]
    if let reason = reasons.removeValue(forKey: small), reasons[large] == nil {
      reasons[large] = reason
    }
  }

  mutating func fix(_ entries: [Int], because reason: String) {
    for entry in entries {
      let own = root(entry)
      if reasons[own] == nil { reasons[own] = reason }
    }
  }

  private mutating func fixAll(of value: ValueID, because reason: String) {
    for entries in (axes[value] ?? [:]).values { fix(entries, because: reason) }
  }

  func entries(of value: ValueID, axis: Int) -> [Int]? { axes[value]?[axis] }

  mutating func set(_ entries: [Int], of value: ValueID, axis: Int) {
    axes[value, default: [:]][axis] = entries
  }

  /// Gives an axis of a parameter a channel for each index, unless a node needs all of them.
  mutating func open(_ value: ValueID, axis: Int, extent: Int) -> [Int]? {
    if let known = axes[value]?[axis] { return known }
    guard !closed.contains(ParameterAxis(value: value, axis: axis)) else { return nil }
    let entries = addEntries(extent)
    set(entries, of: value, axis: axis)
    return entries
  }

  /// Keeps every index along an axis of an operand.
  mutating func close(_ value: ValueID, axis: Int, isParameter: Bool, because reason: String) {
    if let entries = axes[value]?[axis] { fix(entries, because: reason) }
    if isParameter { closed.insert(ParameterAxis(value: value, axis: axis)) }
  }
}

/// Which indices along the axes of a node's operands and results stay.
public struct KeptChannels: Sendable {
  private let operands: [[Int: [Bool]]]
  private let results: [[Int: [Bool]]]

  /// - Parameters:
  ///   - operands: for each operand, by axis, whether each index stays; axes of which all do can be left out.
  ///   - results: the same for each result.
  public init(operands: [[Int: [Bool]]], results: [[Int: [Bool]]]) {
    self.operands = operands
    self.results = results
  }

  /// Nil if all stay.
  public func operand(_ index: Int, axis: Int) -> [Bool]? {
    operands.indices.contains(index) ? operands[index][axis] : nil
  }

  /// Nil if all stay.
  public func result(_ index: Int, axis: Int) -> [Bool]? {
    results.indices.contains(index) ? results[index][axis] : nil
  }

  /// The shape of a result of which only these indices stay.
  func shape(ofResult index: Int, _ shape: TensorShape) -> TensorShape {
    var own = shape
    for axis in 0..<shape.rank {
      if let kept = result(index, axis: axis) { own[axis] = Dimension(kept.count(where: \.self)) }
    }
    return own
  }
}
