// What a compiled classifier predicts for all items of labeled data.

import GraftData
import GraftDiagnostics

/// The predictions of a bundle, and the true classes.
struct LabeledPredictions {
  private(set) var labels: [Int] = []
  private(set) var predictions: [Int] = []
  private(set) var warnings: [Warning] = []

  /// The fraction that is correct, 0 to 1.
  var top1: Double {
    Double(zip(labels, predictions).count { $0 == $1 }) / Double(max(1, labels.count))
  }

  private static let batchSize = 64

  /// Runs `bundle` on all of the data at `path`.
  /// - Parameters:
  ///   - name: of the network, for the progress.
  ///   - progress: called with a description of the current work.
  /// - Throws: ``GraftError`` if the network is no classifier, or the data have no classes.
  init(
    of bundle: ModelBundle, _ name: String, on path: String,
    progress: @Sendable (String) -> Void
  ) throws {
    let network = try ImageNetwork(bundle).taking(dataAt: path)
    try network.requireClasses()
    let (dataset, opening) = try network.open(path)
    let session = try Session(
      bundle, largestBatch: network.batchSize(Self.batchSize), program: network.program)
    let run = try network.run(
      on: dataset, with: session, batchSize: Self.batchSize,
      progress: { progress("evaluating \(name): \($0) of \($1) items") }
    ) { answer in
      guard case .label(let label) = answer.target, !network.isMultiLabel else {
        throw GraftError(
          .unsupported, "the accuracy of \(name) is measured where every item has one class",
          at: SourceLocation(file: path),
          advice: "Leave out --data, and compare the bundles with graft evaluate.")
      }
      labels.append(label)
      predictions.append(network.best(1, of: answer.row).first ?? 0)
    }
    guard !labels.isEmpty else {
      throw GraftError(.invalidData, "no item could be read", at: SourceLocation(file: path))
    }
    warnings = network.warnings + opening + run.warnings
  }

  /// What changes from these predictions to others of the same items.
  func comparison(with other: LabeledPredictions) -> PairedComparison {
    PairedComparison(labels: labels, first: predictions, second: other.predictions)
  }
}
