// The evaluation of a network from images to images for the report: the items with the largest error.

import Graft
import GraftData
import GraftDiagnostics
import GraftRuntime

/// PNG files of an item in a report: the input, what the network should give for it, what it gives.
struct ItemPictures {
  var input: [UInt8]
  var truth: [UInt8]
  var prediction: [UInt8]
}

/// The evaluation of a network whose output is an image.
struct PictureFindings {
  /// An item with the network's output.
  struct Item {
    /// The row of the data, and its file.
    var item: Int
    var name: String
    var meanSquaredError: Double
    /// The values of the output.
    var output: [Float]
    var pictures: ItemPictures?
  }

  /// False if nothing was held out and the items are the training items.
  let isHeldOut: Bool
  let itemCount: Int
  let picture: PictureOutput
  /// The mean over the items of the peak signal-to-noise ratio, in decibels.
  let peakSignalToNoise: Double
  /// The items with the largest error, in descending order.
  private(set) var worst: [Item]

  /// The maximum number of items.
  static let itemLimit = 9

  /// Evaluates the trainer's current network.
  /// - Parameter picture: its output.
  /// - Throws: ``GraftError`` as the trainer does.
  init(
    _ trainer: LoadedTrainer, on data: TrainingData, _ items: [Int], isHeldOut: Bool,
    _ picture: PictureOutput, batchSize: Int
  ) throws {
    self.isHeldOut = isHeldOut
    self.picture = picture
    itemCount = items.count
    var worst: [Item] = []
    var sum = 0.0
    for start in stride(from: 0, to: items.count, by: batchSize) {
      let rows = items[start..<min(start + batchSize, items.count)]
      var inputs = try data.features.gather(rows)
      let targets = inputs.popLast() ?? []
      let outputs = try trainer.evaluate(batch: rows.count, inputs: inputs)
      let width = targets.count / max(1, rows.count)
      for (position, item) in rows.enumerated() {
        let own = outputs[position * width..<(position + 1) * width]
        let error =
          zip(own, targets[position * width..<(position + 1) * width])
          .reduce(0.0) { $0 + (Double($1.0) - Double($1.1)) * (Double($1.0) - Double($1.1)) }
          / Double(max(1, width))
        sum += Self.peakSignalToNoise(of: error, picture)
        worst.append(
          Item(item: item, name: data.names[item], meanSquaredError: error, output: Array(own)))
        worst.sort { ($1.meanSquaredError, $0.item) < ($0.meanSquaredError, $1.item) }
        if worst.count > Self.itemLimit { worst.removeLast() }
      }
    }
    self.worst = worst
    peakSignalToNoise = sum / Double(max(1, items.count))
  }

  /// In decibels; infinite if there is no error.
  func peakSignalToNoise(of item: Item) -> Double {
    Self.peakSignalToNoise(of: item.meanSquaredError, picture)
  }

  private static func peakSignalToNoise(of error: Double, _ picture: PictureOutput) -> Double {
    ImageSimilarity.peakSignalToNoise(
      meanSquaredError: error, peak: picture.coder.values.span)
  }

  /// Adds pictures to the items. Those of images that have become unreadable are left out.
  /// - Parameter places: the indices of the items in `images`.
  mutating func addPictures(
    of images: any Dataset, places: [Int], preprocessing: Preprocessing
  ) {
    let preprocessor = Preprocessor(preprocessing)
    for (index, place) in zip(worst.indices, places) {
      worst[index].pictures = try? pictures(
        of: images.sample(at: place), worst[index].output, preprocessor)
    }
  }

  private func pictures(
    of sample: Sample, _ output: [Float], _ preprocessor: Preprocessor
  ) throws -> ItemPictures? {
    guard case .image(let image) = sample.content, case .picture(let target) = sample.target else {
      return nil
    }
    return ItemPictures(
      input: try preprocessor.pixels(of: image).encodedPNG(),
      truth: try preprocessor.target(target, for: image.size, as: picture).encodedPNG(),
      prediction: try picture.image(of: output[...]).encodedPNG())
  }
}
