// Golden files: text that a test expects, kept beside the test and rewritten on demand. A run that
// rewrites still fails, so that nobody's CI passes by blessing.

import Foundation
import Testing

/// Compares `text` with the golden file `name` in a `Golden` folder beside the calling test file.
/// With `UPDATE_GOLDEN=1` in the environment the file is rewritten, and the test fails once more.
public func expectGolden(
  _ text: String, _ name: String, file: String = #filePath,
  sourceLocation: Testing.SourceLocation = #_sourceLocation
) throws {
  let folder = URL(filePath: file).deletingLastPathComponent().appending(path: "Golden")
  let url = folder.appending(path: name)
  if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1" {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    if (try? String(contentsOf: url, encoding: .utf8)) != text {
      try text.write(to: url, atomically: true, encoding: .utf8)
      Issue.record("rewrote \(name)", sourceLocation: sourceLocation)
    }
    return
  }
  guard let expected = try? String(contentsOf: url, encoding: .utf8) else {
    Issue.record(
      "there is no golden file \(url.path); run with UPDATE_GOLDEN=1 to write it",
      sourceLocation: sourceLocation)
    return
  }
  guard text != expected else { return }
  Issue.record(
    "\(name) differs:\n\(firstDifference(expected, text))", sourceLocation: sourceLocation)
}

private func firstDifference(_ expected: String, _ found: String) -> String {
  let left = expected.split(separator: "\n", omittingEmptySubsequences: false)
  let right = found.split(separator: "\n", omittingEmptySubsequences: false)
  for (number, pair) in zip(left, right).enumerated() where pair.0 != pair.1 {
    return "line \(number + 1)\n- \(pair.0)\n+ \(pair.1)"
  }
  return "\(left.count) lines expected, \(right.count) found"
}
