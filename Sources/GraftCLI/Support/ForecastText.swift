// The text output of `graft finetune --plan`.

import Foundation
import Graft
import GraftDiagnostics
import GraftTraining

extension Forecast {
  /// The maximum number of tensors that are listed.
  private static let mostTensors = 24

  /// Lines with the trained tensors, operations, data, cache, memory and time.
  var lines: [String] {
    var lines = [
      "trains      \(trainedParameters) parameters in \(trained.count) tensors; "
        + "\(frozenParameters) are frozen"
    ]
    let shown = trained.count <= Self.mostTensors ? trained.count : Self.mostTensors - 1
    let names = trained.prefix(shown).map(\.name.escapedForDisplay)
    let width = names.map(\.count).max() ?? 0
    for (parameter, name) in zip(trained, names) {
      let blank = String(repeating: " ", count: width - name.count)
      lines.append(
        "            \(name)\(blank)  \(parameter.shape)  \(parameter.elements), group "
          + parameter.group.escapedForDisplay)
    }
    if shown < trained.count {
      lines.append("            … and \(trained.count - shown) more (--json lists them all)")
    }
    if !literals.isEmpty {
      let reasons = Dictionary(grouping: literals, by: \.reason).sorted { $0.key < $1.key }
      lines.append(
        "constants   "
          + (literals.count == 1
            ? "1 constant of the graph does not train:"
            : "\(literals.count) constants of the graph do not train:"))
      for (reason, own) in reasons {
        let some = own.prefix(8).map(\.name.escapedForDisplay).joined(separator: ", ")
        let rest = own.count > 8 ? " and \(own.count - 8) more" : ""
        lines.append("            \(reason): \(some)\(rest)")
      }
    }
    lines.append(
      "freeze line \(freezeLine.map(\.quotedForDisplay).joined(separator: ", "))")
    lines.append(
      "work        \(Self.operations(work.trunk)) per image in the frozen layers"
        + (trunkPrecision == .float32 ? ", " : " (\(trunkPrecision.rawValue)), ")
        + "\(Self.operations(work.step)) in a step"
        + (work.operatorsAgain == 0
          ? ""
          : ", and \(Self.operations(work.again)) in \(work.operatorsAgain) recomputed operators"))
    lines.append(
      "data        \(trainingItems) training items, \(validationItems) held out")
    lines.append(
      "cache       \(memory.cache.asBytes) of frozen features, "
        + "\(memory.cacheInMemory.asBytes) of them in memory")
    lines.append(
      "memory      \(memory.peak.asBytes) at most, including \(memory.training.asBytes) for the step and "
        + "\(memory.trunk.asBytes) for the frozen layers")
    lines.append(
      "time        \(Self.duration(seconds.preparation)) to read the data and run the frozen layers, "
        + "\(Self.duration(seconds.epoch)) per epoch, \(Self.duration(seconds.total)) for all "
        + "\(epochs)")
    return lines
  }

  private static func operations(_ count: Int) -> String {
    count < 1_000_000_000
      ? String(format: "%.2f MFLOP", Double(count) / 1e6)
      : String(format: "%.2f GFLOP", Double(count) / 1e9)
  }

  private static func duration(_ seconds: Double) -> String {
    switch seconds {
    case ..<10: String(format: "%.2g s", seconds)
    case ..<120: String(format: "%.0f s", seconds)
    case ..<7200: String(format: "%.0f min", seconds / 60)
    default: String(format: "%.1f h", seconds / 3600)
    }
  }
}
