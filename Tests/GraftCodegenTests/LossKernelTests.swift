// Losses and their gradients against the reference evaluator in double precision.

import GraftIR
import GraftOps
import Testing

@Suite struct LossKernelTests {
  @Test func losses() throws {
    var harness = KernelHarness(seed: 40)
    for classes in [1, 10, 37] {
      let logits = harness.input([.batch, Dimension(classes)])
      let targets = harness.input([.batch, Dimension(classes)])
      harness.mapped[targets] = { $0 > 4 ? $0 - 4 : 0 }
      let weights = harness.input([.batch])
      try harness.output(try harness.apply(CrossEntropy(), [logits, targets])[0])
      try harness.output(try harness.apply(CrossEntropyGradient(), [logits, targets])[0])
      let pair = [logits, targets, weights]
      for measure in ErrorMeasure.allCases {
        try harness.output(try harness.apply(RegressionError(measure), pair)[0])
        try harness.output(try harness.apply(RegressionErrorGradient(measure), pair)[0])
      }
    }
    try harness.check(range: -12...12)
  }
}
