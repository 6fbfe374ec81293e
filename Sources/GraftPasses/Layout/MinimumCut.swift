// Minimum cut, for the layout pass.

/// A directed network with a source and a sink, and its minimum cut by Dinic's algorithm (1970).
struct MinimumCut {
  /// The capacity of an edge that must not be cut, larger than any sum of costs.
  static let forbidden = 1 << 50

  private var heads: [Int] = []
  private var capacities: [Int] = []
  private var edges: [[Int]]
  let source: Int
  let sink: Int

  /// A network of `count` vertices plus source and sink.
  init(vertices count: Int) {
    edges = Array(repeating: [], count: count + 2)
    source = count
    sink = count + 1
  }

  mutating func addVertex() -> Int {
    edges.append([])
    return edges.count - 1
  }

  /// Cutting costs `capacity` where `tail` is on the source's side and `head` on the sink's.
  mutating func addEdge(_ tail: Int, _ head: Int, _ capacity: Int) {
    guard capacity > 0 else { return }
    edges[tail].append(heads.count)
    heads.append(head)
    capacities.append(min(capacity, Self.forbidden))
    edges[head].append(heads.count)
    heads.append(tail)
    capacities.append(0)
  }

  /// The vertices on the source's side of the minimum cut that has fewest of them.
  mutating func sourceSide() -> Set<Int> {
    var levels = breadthFirstLevels()
    while levels[sink] >= 0 {
      var next = Array(repeating: 0, count: edges.count)
      while pushPath(levels, &next) {}
      levels = breadthFirstLevels()
    }
    return Set(levels.indices.filter { levels[$0] >= 0 })
  }

  private func breadthFirstLevels() -> [Int] {
    var levels = Array(repeating: -1, count: edges.count)
    levels[source] = 0
    var queue = [source]
    var position = 0
    while position < queue.count {
      let vertex = queue[position]
      position += 1
      for edge in edges[vertex] where capacities[edge] > 0 && levels[heads[edge]] < 0 {
        levels[heads[edge]] = levels[vertex] + 1
        queue.append(heads[edge])
      }
    }
    return levels
  }

  /// Sends flow along one path of ascending levels; false if there is none left.
  private mutating func pushPath(_ levels: [Int], _ next: inout [Int]) -> Bool {
    var path: [Int] = []
    var vertex = source
    while vertex != sink {
      if next[vertex] < edges[vertex].count {
        let edge = edges[vertex][next[vertex]]
        if capacities[edge] > 0, levels[heads[edge]] == levels[vertex] + 1 {
          path.append(edge)
          vertex = heads[edge]
        } else {
          next[vertex] += 1
        }
      } else {
        guard let edge = path.popLast() else { return false }
        vertex = heads[edge ^ 1]
        next[vertex] += 1
      }
    }
    let flow = path.map { capacities[$0] }.min() ?? 0
    for edge in path {
      capacities[edge] -= flow
      capacities[edge ^ 1] += flow
    }
    return flow > 0
  }
}
