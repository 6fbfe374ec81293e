// The tuning modes and the report of tuning.

import Foundation
import GraftCodegen

/// How the schedules of convolutions are chosen. Results of a network differ between schedules only by
/// rounding.
public enum Tuning: String, CaseIterable, Codable, Sendable {
  /// By the cost model only.
  case off
  /// By measuring the best few candidates of each convolution inside the network.
  case quick
  /// By measuring all candidates, for longer.
  case full

  /// The folder of the tuning cache, nil if there is none, and the names of its files.
  public static var cache: (folder: String?, names: [String]) {
    (TuningCache.folder(), ["tuning-*.json"])
  }

  /// The maximum number of candidates per convolution in addition to the cost model's choice.
  var mostCandidates: Int {
    switch self {
    case .off: 0
    case .quick: 4
    case .full: .max
    }
  }

  /// The duration of one measurement round in seconds.
  var secondsPerRound: Double { self == .full ? 2.5 : 0.8 }

  /// Whether results of `other` can be reused for this mode.
  func accepts(_ other: Tuning) -> Bool { other == self || other == .full }
}

/// The results of tuning.
public struct TuningReport: Sendable {
  /// A convolution, or several identical ones.
  public struct Site: Sendable {
    public var site: ConvolutionSite
    public var chosen: ConvolutionVariant
    /// The ratio of the time with the chosen schedule to that with the cost model's; nil if both are the
    /// same, or if the choice comes from the cache.
    public var ratio: Double?
    public var isFromCache: Bool
  }

  public var effort: Tuning
  public var threads: Int
  public var sites: [Site]
  /// The number of these that differ from the cost model's choice.
  public var changed: Int
  /// The median time of the network with the cost model's schedules and with the chosen ones, in
  /// milliseconds; nil if nothing was measured.
  public var milliseconds: (before: Double, after: Double)?

  var measured: Int { sites.count { !$0.isFromCache } }

  /// A line for the user.
  public var summary: String {
    guard !sites.isEmpty else { return "tuned: no convolution has more than one schedule" }
    let kinds = sites.count == 1 ? "1 kind" : "\(sites.count) kinds"
    var text =
      "tuned for \(threads) threads: \(kinds) of convolutions, \(measured) measured, \(changed) changed "
      + "from the cost model's choice"
    if let (before, after) = milliseconds {
      text +=
        "; \(String(format: "%.2f ms instead of %.2f", after, before))"
    }
    return text
  }

  /// A line for each convolution.
  public var explanation: [String] {
    sites.map { entry in
      let outcome: String
      if let ratio = entry.ratio {
        outcome = "\(String(format: "%.2f", ratio)) of the time of the cost model's choice"
      } else {
        outcome = entry.isFromCache ? "cached" : "the cost model's choice"
      }
      return "tuning: \(entry.site): \(entry.chosen): \(outcome)"
    }
  }
}
