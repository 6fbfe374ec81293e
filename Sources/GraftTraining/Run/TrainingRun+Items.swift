// A loss that is not finite because of an item, not because of the learning rate.

import GraftDiagnostics

extension TrainingRun {
  /// Throws if a loss that is not finite is due to an item, not to the learning rate: its frozen features or
  /// the teacher's outputs are not finite, or its output is not finite before the first update or while those
  /// of other items in the batch are.
  func checkItems(
    _ rows: ArraySlice<Int>, _ fed: StepInput, _ logits: [Float], isFirst: Bool
  ) throws {
    func firstItem(of values: [Float]) -> (row: Int, others: Bool)? {
      let width = values.count / max(1, rows.count)
      let finite = (0..<rows.count).map { position in
        values[(position * width)..<((position + 1) * width)].allSatisfy(\.isFinite)
      }
      guard let position = finite.firstIndex(of: false) else { return nil }
      return (rows[rows.startIndex + position], finite.contains(true))
    }
    func notFinite(_ what: String, _ row: Int, _ advice: String) -> GraftError {
      GraftError(
        .invalidData, "\(what) for \(data.names[row].quotedForDisplay) is not finite",
        advice: advice)
    }
    let advice =
      "Check the item's values and the network's weights: graft run --dump-values DIR writes the "
      + "intermediate values."
    for features in fed.features {
      guard let found = firstItem(of: features) else { continue }
      throw notFinite("the output of the network's frozen layers", found.row, advice)
    }
    if let teacher = fed.teacherLogits, let found = firstItem(of: teacher) {
      throw notFinite(
        "the teacher's output", found.row,
        "Check the item's values and the teacher: graft predict shows its output.")
    }
    guard let found = firstItem(of: logits) else { return }
    if isFirst {
      throw GraftError(
        .invalidData,
        "the network's output for \(data.names[found.row].quotedForDisplay) is not finite, before "
          + "anything was learned", advice: advice)
    }
    if found.others { throw notFinite("the network's output", found.row, advice) }
  }
}
