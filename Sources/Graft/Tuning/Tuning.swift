// What can be chosen about tuning, and what it says afterwards.

import Foundation
import GraftCodegen

/// How the schedules of convolutions are chosen. Whichever wins, a network's results are the same to rounding.
public enum Tuning: String, CaseIterable, Codable, Sendable {
  /// By the cost model alone.
  case off
  /// The most promising few of each convolution are measured inside the network.
  case quick
  /// All that can be generated are, and for longer.
  case full

  /// What tuning writes beside a bundle: the folder of its cache, nil where there is none, and the names in it.
  public static var cache: (folder: String?, names: [String]) {
    (TuningCache.folder(), ["tuning-*.json"])
  }

  /// Schedules of each convolution that are measured beside the cost model's.
  var mostCandidates: Int {
    switch self {
    case .off: 0
    case .quick: 4
    case .full: .max
    }
  }

  /// How long a set of schedules is measured.
  var secondsPerRound: Double { self == .full ? 2.5 : 0.8 }

  /// Whether what was found by `other` is as good as what this would find.
  func accepts(_ other: Tuning) -> Bool { other == self || other == .full }
}

/// What tuning found.
public struct TuningReport: Sendable {
  /// One convolution, or several that are alike.
  public struct Site: Sendable {
    public var site: ConvolutionSite
    public var chosen: ConvolutionVariant
    /// The time with the chosen schedule, over that with the cost model's; nil where both are the same, or
    /// where the choice comes from the cache.
    public var ratio: Double?
    public var isFromCache: Bool
  }

  public var effort: Tuning
  public var threads: Int
  public var sites: [Site]
  /// How many of these are not as the cost model would have them.
  public var changed: Int
  /// The median time of the network with the cost model's schedules and with the chosen ones, in
  /// milliseconds; nil where nothing was measured.
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
