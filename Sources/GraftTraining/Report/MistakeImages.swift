// Images for a report: the network's input, and the Grad-CAM heat map of the predicted class.

import Foundation
import Graft
import GraftAutodiff
import GraftData
import GraftDiagnostics
import GraftIR
import GraftRuntime

/// Renders items as images, with Grad-CAM from the tuned network's library.
struct MistakeImages {
  /// PNG files.
  struct Pair {
    var picture: [UInt8]
    /// The color heat map, upsampled from the feature map; nil if there is none.
    var heat: [UInt8]?
  }

  /// The name of the feature map of the heat maps; nil if there is none.
  var featureMap: String? { source?.activation.name }

  private struct Source {
    var activation: ClassActivation
    var model: LoadedModel
    var value: Int
    var steps: Range<Int>
  }

  /// The maximum number of heat maps, limited by their cost.
  private(set) var heatLimit = 0
  private let preprocessor: Preprocessor
  private let classCount: Int
  private let source: Source?

  /// The maximum multiply-adds of all heat maps, because gradients are computed by the slow reference
  /// evaluator.
  private static let largestCost = 400_000_000
  /// The longest edge of images in a report, in pixels.
  private static let longestEdge = 224

  /// - Parameters:
  ///   - network: the graph of the tuned network, including its final softmax.
  ///   - folder: the folder with the library and the packed weights of that network.
  ///   - program: the number of the network's program in the library.
  /// - Returns: nil if the network's input is not an image.
  init?(
    of network: Graph, in folder: String, program: Int, inputs: [TensorSpecification],
    preprocessing: Preprocessing?, classCount: Int, threads: Int
  ) throws {
    guard let preprocessing, inputs.count == 1 else { return nil }
    preprocessor = Preprocessor(preprocessing)
    self.classCount = classCount
    let library = try ModelLibrary(path: ModelBundle.join(folder, BundleLayout.library))
      .program(program)
    var source: Source?
    for map in try ClassActivation.featureMaps(of: network) {
      let type = network.type(of: map).with(layout: .plain)
      guard let name = network[map].name,
        let value = library.description.values.firstIndex(where: {
          $0.name == name && $0.type == type
        })
      else { continue }
      // Use the last feature map that the library can return.
      guard let activation = try? ClassActivation(network, at: map),
        let cost = try? activation.multiplyAdds(), cost <= Self.largestCost
      else { break }
      heatLimit = Self.largestCost / max(1, cost)
      let model = try LoadedModel(library: library, bundle: folder, threads: threads)
      source = Source(
        activation: activation, model: model, value: value,
        steps: 0..<library.description.availableAfterStep[value] + 1)
      break
    }
    self.source = source
  }

  /// - Parameter predicted: the class of the heat map.
  /// - Throws: ``GraftError`` if the image cannot be read or preprocessed.
  func pair(of image: Image, predicted: Int, withHeat: Bool) throws -> Pair {
    let pixels = try preprocessor.pixels(of: image)
    var shown = pixels
    let longest = max(pixels.width, pixels.height)
    if longest > Self.longestEdge {
      shown = try pixels.resized(
        width: max(1, pixels.width * Self.longestEdge / longest),
        height: max(1, pixels.height * Self.longestEdge / longest), filter: .bilinear)
    }
    return Pair(
      picture: try shown.encodedPNG(),
      heat: withHeat ? try heat(of: pixels, predicted: predicted) : nil)
  }

  private func heat(of pixels: Image, predicted: Int) throws -> [UInt8]? {
    guard let source else { return nil }
    let values = try preprocessor.coder.values(of: pixels)
    let features = try source.model.run(
      batch: 1, inputs: [values], tapping: [source.value], steps: source.steps)
    var selection = [Float](repeating: 0, count: classCount)
    guard selection.indices.contains(predicted), let map = features.first else { return nil }
    selection[predicted] = 1
    let heat = try source.activation.heatMap(features: map, selection: selection)
    let greatest = heat.values.max() ?? 0
    guard greatest > 0, greatest.isFinite else { return nil }
    let gray = try Image(
      width: heat.width, height: heat.height, channels: 1,
      pixels: heat.values.map { UInt8(255 * ($0 / greatest)) })
    // Interpolated before the color map is applied, because interpolated colors would not be on the map.
    let scale = max(1, 56 / max(heat.width, heat.height))
    let smooth = try gray.resized(
      width: heat.width * scale, height: heat.height * scale, filter: .bilinear)
    return try Image(
      width: smooth.width, height: smooth.height, channels: 3,
      pixels: smooth.pixels.flatMap(Self.color)
    ).encodedPNG()
  }

  /// Evenly spaced points of matplotlib's "inferno" color map.
  private static let colors: [[Double]] = [
    [0, 0, 4], [51, 10, 94], [120, 28, 109], [188, 55, 84], [237, 105, 37], [251, 180, 26],
    [252, 255, 164],
  ]

  private static func color(_ value: UInt8) -> [UInt8] {
    let place = Double(value) / 255 * Double(colors.count - 1)
    let first = min(colors.count - 2, Int(place))
    let share = place - Double(first)
    return zip(colors[first], colors[first + 1]).map {
      UInt8(clamping: Int(($0 + ($1 - $0) * share).rounded()))
    }
  }
}
