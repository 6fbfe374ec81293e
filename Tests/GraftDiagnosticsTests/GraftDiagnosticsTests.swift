// What a person reads: how an error names its place, what callers add, and that text from a file cannot pretend
// to be Graft's own.

import GraftDiagnostics
import Testing

@Suite struct GraftErrorTests {
  @Test("An error reads as file, node, message, what was being done, IR line, advice")
  func description() {
    let error = GraftError(
      .unsupported, "the kernel is 3-D",
      at: GraftDiagnostics.SourceLocation(
        file: "a.onnx", node: "conv1", operatorName: "Conv", irLine: "%3 = convolution(%1)"),
      advice: "Export it in 2-D.")
    let raised = error.adding(context: "reading the graph").adding(context: "compiling a.onnx")
    #expect(
      raised.description == """
        a.onnx: node "conv1" (Conv): the kernel is 3-D
          while reading the graph
          while compiling a.onnx
          in: %3 = convolution(%1)
          Export it in 2-D.
        """)
  }

  @Test(
    "Each part of the place may be missing",
    arguments: [
      (GraftDiagnostics.SourceLocation(), "m"),
      (GraftDiagnostics.SourceLocation(file: "a.onnx"), "a.onnx: m"),
      (GraftDiagnostics.SourceLocation(node: "n"), "node \"n\": m"),
      (GraftDiagnostics.SourceLocation(operatorName: "Conv"), "operator Conv: m"),
      (GraftDiagnostics.SourceLocation(node: "n", operatorName: "Conv"), "node \"n\" (Conv): m"),
    ])
  func places(_ location: GraftDiagnostics.SourceLocation, _ text: String) {
    #expect(GraftError(.invalidModel, "m", at: location).description == text)
  }

  @Test("An outer place fills in what the inner one lacks and replaces nothing")
  func outerPlaces() throws {
    let error = #expect(throws: GraftError.self) {
      try at(GraftDiagnostics.SourceLocation(file: "outer.onnx", node: "outer")) {
        try at(GraftDiagnostics.SourceLocation(node: "inner", operatorName: "Relu")) {
          throw GraftError(.invalidModel, "m")
        }
      }
    }
    #expect(
      error?.location
        == GraftDiagnostics.SourceLocation(file: "outer.onnx", node: "inner", operatorName: "Relu"))
  }

  @Test("Context is added innermost first, and only to Graft's own errors")
  func context() {
    let error = #expect(throws: GraftError.self) {
      try withContext("outer") { try withContext("inner") { throw GraftError(.machine, "m") } }
    }
    #expect(error?.context == ["inner", "outer"])
    #expect(throws: CancellationError.self) {
      try withContext("outer") { throw CancellationError() }
    }
  }

  @Test(
    "The label of a constraint is for developers",
    arguments: [
      ("x must have rank 4 [C1]", "x must have rank 4"),
      ("two [C2] in the middle", "two [C2] in the middle"),
      ("an extent of [3]", "an extent of [3]"), ("broken [S1]", "broken [S1]"), ("[C1]", "[C1]"),
      ("nothing [C]", "nothing [C]"), ("", ""),
    ])
  func constraintLabels(_ message: String, _ shown: String) {
    #expect(message.withoutConstraintLabel == shown)
    #expect(GraftError(.invalidModel, message).description == shown)
  }
}

@Suite struct DisplayTextTests {
  @Test(
    "Nothing in a name moves the cursor, turns the text round or begins a line",
    arguments: [
      ("plain", "plain"), ("Größe 学習", "Größe 学習"), ("a\nb\r\tc", "a\\nb\\r\\tc"),
      ("\u{1B}[2J", "\\u{1b}[2J"), ("\u{202E}txt.onnx", "\\u{202e}txt.onnx"),
      ("a\u{2028}b", "a\\u{2028}b"), ("\u{0}", "\\u{0}"), ("\u{E000}", "\\u{e000}"),
    ])
  func escapes(_ name: String, _ shown: String) {
    #expect(name.escapedForDisplay == shown)
  }

  @Test("A quoted name cannot end its own quotes")
  func quotes() {
    #expect(#"a" (Conv): fine \"#.quotedForDisplay == #""a\" (Conv): fine \\""#)
  }

  @Test("A name of 120 characters is shown whole, a longer one by its ends and length")
  func longNames() {
    let whole = String(repeating: "a", count: 120)
    #expect(whole.escapedForDisplay == whole)
    let long = String(repeating: "a", count: 100) + String(repeating: "b", count: 100)
    let ends = String(repeating: "a", count: 60) + "…" + String(repeating: "b", count: 59)
    #expect(long.escapedForDisplay == "\(ends) (200 characters)")
  }

  @Test(
    "Bytes are given in decimal units",
    arguments: [
      (0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (12_345_678, "12.3 MB"),
      (1_000_000_000, "1.00 GB"), (Int.max, "9223372036.85 GB"), (-5, "-5 B"),
    ])
  func bytes(_ count: Int, _ shown: String) {
    #expect(count.asBytes == shown)
  }
}
