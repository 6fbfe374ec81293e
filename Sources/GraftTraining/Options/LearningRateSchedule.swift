// How the learning rate moves over a run: a pure function of how far the run has come.

import Foundation
import GraftDiagnostics

/// The factor on every group's learning rate.
public struct LearningRateSchedule: Hashable, Sendable {
  public enum Shape: Hashable, Sendable {
    case constant
    /// Times gamma after every `size` epochs.
    case step(size: Int, gamma: Double)
    /// Half a cosine down to 0 (Loshchilov and Hutter 2017, without restarts).
    case cosine
    /// Up from 1/25 over the first 30 % and down to 1/250,000, both on a cosine (Smith and Topin 2019,
    /// with PyTorch's numbers).
    case oneCycle
  }

  public var shape: Shape
  /// Epochs over which the rate first climbs from 0, on a line.
  public var warmup: Double

  public init(_ shape: Shape, warmup: Double = 0) {
    self.shape = shape
    self.warmup = warmup
  }

  /// The names on the command line.
  public static let names = ["constant", "step", "cosine", "onecycle"]

  /// One of ``names``.
  public var name: String {
    switch shape {
    case .constant: "constant"
    case .step: "step"
    case .cosine: "cosine"
    case .oneCycle: "onecycle"
    }
  }

  /// Epochs between two drops; nil where the shape has none, and then it cannot be set.
  var stepSize: Int? {
    get { if case .step(let size, _) = shape { size } else { nil } }
    set {
      if case .step(_, let gamma) = shape, let newValue {
        shape = .step(size: newValue, gamma: gamma)
      }
    }
  }

  /// The factor of each drop; nil where the shape has none, and then it cannot be set.
  var gamma: Double? {
    get { if case .step(_, let gamma) = shape { gamma } else { nil } }
    set {
      if case .step(let size, _) = shape, let newValue {
        shape = .step(size: size, gamma: newValue)
      }
    }
  }

  /// - Parameters:
  ///   - update: the number of updates made so far.
  ///   - perEpoch: updates in an epoch.
  ///   - epochs: of the whole run.
  public func factor(update: Int, perEpoch: Int, epochs: Int) -> Double {
    let total = Double(max(1, perEpoch * epochs))
    let done = Double(update)
    let climb = warmup * Double(perEpoch)
    if done < climb { return (done + 1) / max(1, climb.rounded(.up)) }
    switch shape {
    case .constant: return 1
    case .step(let size, let gamma):
      return pow(gamma, Double(update / max(1, perEpoch) / size))
    case .cosine:
      return 0.5 * (1 + cos(Double.pi * min(1, (done - climb) / max(1, total - climb))))
    case .oneCycle:
      let peak = 0.3 * total - 1
      func between(_ start: Double, _ end: Double, _ share: Double) -> Double {
        end + (start - end) / 2 * (1 + cos(Double.pi * share))
      }
      return done <= peak
        ? between(1 / 25, 1, done / max(1, peak))
        : between(1, 1 / 250_000, (done - peak) / max(1, total - 1 - peak))
    }
  }
}

extension LearningRateSchedule.Shape {
  /// The shape of one of ``LearningRateSchedule/names``, with the default numbers where it has some: a tenth
  /// every 10 epochs.
  /// - Throws: ``GraftError`` of kind `invalidArgument` for another name.
  public init(named name: String) throws {
    switch name {
    case "constant": self = .constant
    case "step": self = .step(size: 10, gamma: 0.1)
    case "cosine": self = .cosine
    case "onecycle": self = .oneCycle
    default:
      throw GraftError(
        .invalidArgument,
        "--schedule takes no \(name.quotedForDisplay); it is one of "
          + LearningRateSchedule.names.joined(separator: ", "))
    }
  }
}
