// Learning rate schedules: pure functions of the number of updates so far.

import Foundation
import GraftDiagnostics

/// A learning-rate schedule: the factor on every parameter group's learning rate over the updates of a run.
public struct LearningRateSchedule: Hashable, Sendable {
  public enum Shape: Hashable, Sendable {
    case constant
    /// The rate is multiplied by `gamma` after every `size` epochs.
    case step(size: Int, gamma: Double)
    /// Cosine annealing to 0 (Loshchilov and Hutter 2017, without restarts).
    case cosine
    /// From 1/25 up to 1 over the first 30 % of the updates, then down to 1/250,000, both along a cosine
    /// (Smith and Topin 2019, with the defaults of PyTorch's OneCycleLR).
    case oneCycle
  }

  public var shape: Shape
  /// The length of the linear warmup from 0, in epochs; at least 0.
  public var warmup: Double

  public init(_ shape: Shape, warmup: Double = 0) {
    self.shape = shape
    self.warmup = warmup
  }

  /// The names of the shapes on the command line.
  public static let names = ["constant", "step", "cosine", "onecycle"]

  /// The name of the shape, one of ``names``.
  public var name: String {
    switch shape {
    case .constant: "constant"
    case .step: "step"
    case .cosine: "cosine"
    case .oneCycle: "onecycle"
    }
  }

  /// Epochs between two drops; nil, and ignored when set, if the shape has none.
  var stepSize: Int? {
    get { if case .step(let size, _) = shape { size } else { nil } }
    set {
      if case .step(_, let gamma) = shape, let newValue {
        shape = .step(size: newValue, gamma: gamma)
      }
    }
  }

  /// The factor of each drop; nil, and ignored when set, if the shape has none.
  var gamma: Double? {
    get { if case .step(_, let gamma) = shape { gamma } else { nil } }
    set {
      if case .step(let size, _) = shape, let newValue {
        shape = .step(size: size, gamma: newValue)
      }
    }
  }

  /// The factor on the learning rate of the next update.
  /// - Parameters:
  ///   - update: the number of updates made so far, from 0.
  ///   - perEpoch: the number of updates in an epoch.
  ///   - epochs: the number of epochs of the run.
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
  /// The shape with one of ``LearningRateSchedule/names``; `step` has size 10 and gamma 0.1.
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
        "--schedule must be one of " + LearningRateSchedule.names.joined(separator: ", ")
          + ", found \(name.quotedForDisplay)")
    }
  }
}
