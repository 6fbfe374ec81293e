// How long the phases of a compilation take.

/// The time of each phase, in order.
package struct StageClock {
  private(set) var stages: [(name: String, seconds: Double)] = []

  package init() {}

  mutating func measure<Result>(_ name: String, _ body: () throws -> Result) rethrows -> Result {
    let clock = ContinuousClock()
    let start = clock.now
    defer { stages.append((name, (clock.now - start) / .seconds(1))) }
    return try body()
  }
}
