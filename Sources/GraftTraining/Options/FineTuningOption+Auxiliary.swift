// The text of auxiliary outputs on the command line: NAME=WEIGHT, several of them joined by commas.

import GraftDiagnostics

extension FineTuningOption {
  static func text(of auxiliary: [FineTuner.Auxiliary]) -> String {
    auxiliary.map { "\($0.name)=\($0.weight.optionText)" }.joined(separator: ",")
  }

  /// Reads the text. A name may contain commas: a part without a weight belongs to the next one.
  /// - Throws: ``GraftError`` of kind `invalidArgument` without a file.
  static func auxiliary(from text: String) throws -> [FineTuner.Auxiliary] {
    func refusal(_ found: String) -> GraftError {
      GraftError(
        .invalidArgument,
        "--auxiliary must be NAME=WEIGHT with a weight greater than 0, found \(found.quotedForDisplay)"
      )
    }
    var outputs: [FineTuner.Auxiliary] = []
    var begun: [Substring] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      begun.append(part)
      let whole = begun.joined(separator: ",")
      guard let sign = whole.lastIndex(of: "="),
        let weight = Double(whole[whole.index(after: sign)...])
      else { continue }
      let name = String(whole[..<sign])
      guard !name.isEmpty, weight > 0, weight.isFinite else { throw refusal(whole) }
      guard !outputs.contains(where: { $0.name == name }) else {
        throw GraftError(
          .invalidArgument, "--auxiliary names the output \(name.quotedForDisplay) twice")
      }
      outputs.append(FineTuner.Auxiliary(name, weight: weight))
      begun = []
    }
    guard begun.isEmpty else { throw refusal(begun.joined(separator: ",")) }
    return outputs
  }
}
