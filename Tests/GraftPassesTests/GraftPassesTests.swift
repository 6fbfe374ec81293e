// What holds of all passes and pipelines together.

import Testing

@testable import GraftPasses

@Suite struct PipelineTests {
  @Test func namesAreKebabCaseAndReasonsAreGiven() {
    for entry in Pipeline.inference + Pipeline.layout {
      #expect(entry.name.allSatisfy { $0.isLowercase || $0 == "-" }, "\(entry.name)")
      #expect(!entry.because.isEmpty)
      #expect(!type(of: entry.pass).summary.isEmpty)
    }
  }
}
