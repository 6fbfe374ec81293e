// The ranges of the layers that a run trains, for a network that is on bytes.

import Graft
import GraftData

extension RunPlan {
  /// The most items that determine ranges.
  private static let mostCalibrationItems = 300

  /// Some of the items at `places` of the data set, evenly chosen, without augmentation.
  func calibration(_ method: CalibrationMethod, on places: [Int]) -> CalibrationFeed {
    let count = min(places.count, Self.mostCalibrationItems)
    let chosen = (0..<count).map { places[$0 * places.count / count] }
    let dataset = sampled(whole)
    return CalibrationFeed(method: method) { session, body in
      let loader = try network.loader(
        dataset, batchSize: 8, threads: session.threads, order: chosen)
      while let batch = try loader.next() { try body(network.tensors(batch), batch.count) }
      // The run has already told what cannot be read.
      return []
    }
  }
}
