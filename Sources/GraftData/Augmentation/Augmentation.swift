// Random transforms of training images and their parameters. The pixel operations are in Image+Colors.swift
// and Images/.

import Glibc
import GraftDiagnostics

/// Random transforms of training images, with torchvision's default parameters where it has any.
public struct Augmentation: Hashable, Sendable {
  /// The transforms, in the order in which they are applied.
  public enum Step: String, Hashable, Sendable, CaseIterable {
    /// Crops a random region of the decoded image instead of the preprocessing's resize and crop. The region has
    /// 8 % to 100 % of the area and an aspect ratio from 3/4 to 4/3 (Szegedy et al. 2015).
    case resizedCrop = "resized-crop"
    /// Pads the preprocessed image with an eighth of black on each side, then crops a random region of the
    /// original size.
    case crop
    /// Horizontal flip with probability 1/2.
    case flip
    /// Multiplies brightness, contrast and saturation by 0.6 to 1.4 and shifts the hue by up to a tenth of
    /// the circle, in random order.
    case jitter
    /// With probability 1/2, sets a rectangle of 2 % to 33 % of the area to the mean of the preprocessing
    /// (Zhong et al. 2020).
    case erase
  }

  /// In the order in which they are applied.
  public let steps: [Step]

  public static let none = Augmentation([])

  /// - Parameter steps: in any order.
  public init(_ steps: Set<Step>) { self.steps = Step.allCases.filter(steps.contains) }

  /// Reads `none`, or names of steps joined by `-` or `,`, such as `crop-flip`.
  /// - Throws: ``GraftError`` of kind `invalidArgument` that names an unknown, duplicate or incompatible
  ///   step.
  public init(_ text: String) throws {
    func refuse(_ problem: String) -> GraftError {
      GraftError(
        .invalidArgument, "the augmentation \(text.quotedForDisplay) \(problem)",
        advice: "It must be none, or some of "
          + Step.allCases.map(\.rawValue).joined(separator: ", ") + " joined by -.")
    }
    var steps = Set<Step>()
    var words = text.split(omittingEmptySubsequences: false) { $0 == "-" || $0 == "," }[...]
    if words == ["none"] { words = [] }
    while let first = words.popFirst() {
      var name = String(first)
      if name == "resized", words.first == "crop" {
        name = Step.resizedCrop.rawValue
        words.removeFirst()
      }
      guard let step = Step(rawValue: name) else {
        throw refuse("has the unknown step \(name.quotedForDisplay)")
      }
      guard steps.insert(step).inserted else { throw refuse("has \(name) twice") }
    }
    if steps.isSuperset(of: [.crop, .resizedCrop]) {
      throw refuse("has both kinds of crop; use one of them")
    }
    self.init(steps)
  }

  /// Whether images are unchanged.
  public var isNone: Bool { steps.isEmpty }

  /// Whether it transforms decoded rather than preprocessed images.
  var takesOriginals: Bool { steps.contains(.resizedCrop) }
}

extension Augmentation: CustomStringConvertible {
  /// The text on the command line.
  public var description: String {
    isNone ? "none" : steps.map(\.rawValue).joined(separator: "-")
  }
}

/// A rectangle of pixels.
struct PixelRectangle: Hashable {
  var x: Int
  var y: Int
  var width: Int
  var height: Int
}

extension PixelRectangle {
  /// The same region in another resolution, at least one pixel each way, to the nearest pixels.
  func scaled(from old: PixelSize, to new: PixelSize) -> Self {
    guard old != new else { return self }
    // Edges are below 2²⁸.
    func scaled(_ place: Int, _ new: Int, _ old: Int) -> Int {
      Int((Double(place * new) / Double(old)).rounded())
    }
    return Self(
      x: scaled(x, new.width, old.width), y: scaled(y, new.height, old.height),
      width: max(1, scaled(width, new.width, old.width)),
      height: max(1, scaled(height, new.height, old.height)))
  }

  /// The region of RandomResizedCrop: ten attempts at an area and an aspect ratio, then the largest central
  /// region with an allowed aspect ratio.
  static func resizedCrop(ofWidth width: Int, height: Int, _ draws: inout RandomDraws) -> Self {
    let ratio = 3 / 4.0...4 / 3.0
    for _ in 0..<10 {
      let (w, h) = draws.rectangle(area: width * height, share: 0.08...1, ratio: ratio)
      if w > 0, w <= width, h > 0, h <= height {
        let y = draws.integer(below: height - h + 1)
        return Self(x: draws.integer(below: width - w + 1), y: y, width: w, height: h)
      }
    }
    return middle(ofWidth: width, height: height, ratio: ratio)
  }

  /// The largest central region whose aspect ratio (width / height) is in `ratio`.
  static func middle(ofWidth width: Int, height: Int, ratio: ClosedRange<Double>) -> Self {
    let own = Double(width) / Double(height)
    var (w, h) = (width, height)
    if own < ratio.lowerBound {
      h = Int((Double(width) / ratio.lowerBound).rounded(.toNearestOrEven))
    } else if own > ratio.upperBound {
      w = Int((Double(height) * ratio.upperBound).rounded(.toNearestOrEven))
    }
    (w, h) = (min(max(1, w), width), min(max(1, h), height))
    return Self(x: (width - w) / 2, y: (height - h) / 2, width: w, height: h)
  }

  /// The region of RandomErasing; nil with probability 1/2, and if ten attempts do not fit.
  static func erased(ofWidth width: Int, height: Int, _ draws: inout RandomDraws) -> Self? {
    guard draws.unit() < 0.5 else { return nil }
    for _ in 0..<10 {
      let (h, w) = draws.rectangle(area: width * height, share: 0.02...0.33, ratio: 0.3...3.3)
      if h < height, w < width {
        let y = draws.integer(below: height - h + 1)
        return Self(x: draws.integer(below: width - w + 1), y: y, width: w, height: h)
      }
    }
    return nil
  }
}

extension RandomDraws {
  /// Two edge lengths whose ratio is log-uniform in `ratio`.
  fileprivate mutating func rectangle(
    area: Int, share: ClosedRange<Double>, ratio: ClosedRange<Double>
  ) -> (Int, Int) {
    let area = Double(area) * uniform(share)
    let ratio = exp(uniform(log(ratio.lowerBound)...log(ratio.upperBound)))
    return (
      Int((area * ratio).squareRoot().rounded(.toNearestOrEven)),
      Int((area / ratio).squareRoot().rounded(.toNearestOrEven))
    )
  }
}
