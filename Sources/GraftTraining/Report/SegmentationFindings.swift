// The evaluation of a network with a class for every position for the report: the classes, and the items that
// were predicted worst.

import Graft
import GraftData
import GraftDiagnostics
import GraftRuntime

/// The evaluation of a network with a class for every position.
struct SegmentationFindings {
  /// An item with its prediction.
  struct Item {
    /// The row of the data, and its file.
    var item: Int
    var name: String
    var accuracy: Double
    var meanIoU: Double
    /// The predicted class of each position.
    var predicted: [UInt8]
    /// The input, and the input with the true and the predicted classes over it.
    var pictures: ItemPictures?
  }

  /// False if nothing was held out and the items are the training items.
  let isHeldOut: Bool
  let itemCount: Int
  let metrics: PositionMetrics
  /// The items with the lowest mean intersection over union, in ascending order.
  var worst: [Item]

  /// The maximum number of items.
  static let itemLimit = 9

  /// Evaluates the trainer's current network.
  /// - Throws: ``GraftError`` as the trainer does.
  init(
    _ trainer: LoadedTrainer, on data: TrainingData, _ items: [Int], isHeldOut: Bool,
    classCount: Int, batchSize: Int
  ) throws {
    self.isHeldOut = isHeldOut
    itemCount = items.count
    var worst: [Item] = []
    metrics = try data.positionMetrics(
      of: trainer, items, classCount: classCount, batchSize: batchSize
    ) { item, own, predicted in
      guard let accuracy = own.accuracy, let mean = own.meanIntersectionOverUnion else { return }
      worst.append(
        Item(
          item: item, name: data.names[item], accuracy: accuracy, meanIoU: mean,
          predicted: predicted))
      worst.sort { ($0.meanIoU, $0.item) < ($1.meanIoU, $1.item) }
      if worst.count > Self.itemLimit { worst.removeLast() }
    }
    self.worst = worst
  }

  /// Adds pictures to the items. Those of images that have become unreadable are left out.
  /// - Parameters:
  ///   - places: the indices of the items in `images`.
  ///   - mapSize: the size of the network's map of classes.
  mutating func addPictures(
    of images: any Dataset, places: [Int], preprocessing: Preprocessing,
    mapSize: (height: Int, width: Int)
  ) {
    let preprocessor = Preprocessor(preprocessing)
    for (index, place) in zip(worst.indices, places) {
      worst[index].pictures = try? Self.pictures(
        of: images.sample(at: place), worst[index].predicted, preprocessor, mapSize)
    }
  }

  private static func pictures(
    of sample: Sample, _ predicted: [UInt8], _ preprocessor: Preprocessor,
    _ mapSize: (height: Int, width: Int)
  ) throws -> ItemPictures? {
    guard case .image(let image) = sample.content, case .map(let map) = sample.target else {
      return nil
    }
    let pixels = try preprocessor.pixels(of: image)
    let prediction = try LabelMap(
      width: mapSize.width, height: mapSize.height, values: predicted)
    return ItemPictures(
      input: try pixels.encodedPNG(),
      truth: try preprocessor.map(of: map).overlay(on: pixels).encodedPNG(),
      prediction: try prediction.resized(width: pixels.width, height: pixels.height)
        .overlay(on: pixels).encodedPNG())
  }
}
