// The text of a stage: the graph's text, with the memory plan as comments, so that it can be parsed.

import GraftIR

extension Compiler.Moment {
  /// The IR text; with a memory plan, preceded by one comment per placement in order of address.
  public var text: String {
    guard let plan else { return graph.text }
    let numbers = graph.makeValueNumbers()
    let bytes = "\(plan.arenaBytes) bytes at batch size 1, lower bound \(plan.lowerBoundBytes)"
    var lines = ["// arena \(bytes)"]
    if let scratchBytesPerThread {
      lines.append("// scratch \(scratchBytesPerThread) bytes per thread")
    }
    lines.append("// offset, bytes, steps, value")
    let places = plan.placements.sorted {
      ($0.value.isPerBatch ? 0 : 1, $0.value.offset, $0.key)
        < ($1.value.isPerBatch ? 0 : 1, $1.value.offset, $1.key)
    }
    for (id, place) in places {
      let scale = place.isPerBatch ? "N*" : ""
      let steps = "\(place.lifetime.lowerBound)...\(place.lifetime.upperBound)"
      let shared = plan.aliases.filter { $0.value == id }.keys.sorted()
      let all = ([id] + shared).map { "%\(numbers[$0] ?? 0)" }.joined(separator: " = ")
      lines.append("// \(scale)\(place.offset), \(scale)\(place.byteCount), \(steps), \(all)")
    }
    return lines.joined(separator: "\n") + "\n" + graph.text
  }
}
