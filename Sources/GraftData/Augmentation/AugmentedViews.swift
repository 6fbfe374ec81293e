// Random views of the images of a data set, and the cache of decoded images that views are made from.

import Foundation
import GraftDiagnostics

/// Random views of a data set's images. View v of an image depends only on the seed, v and the image's index.
public final class AugmentedViews: @unchecked Sendable {
  // The lock guards the cache; everything else is immutable.
  public let augmentation: Augmentation
  public let seed: UInt64
  private let lock = NSLock()
  private var kept: [Int: Image] = [:]
  private var room: Int
  private var decoded = (pictures: 0, bytes: 0)

  /// The default maximum size of the decoded image cache in bytes.
  public static let defaultRoom = 512 << 20

  /// - Parameter room: the maximum size of the decoded image cache in bytes; other images are decoded for
  ///   every view.
  public init(_ augmentation: Augmentation, seed: UInt64, room: Int = AugmentedViews.defaultRoom) {
    self.augmentation = augmentation
    self.seed = seed
    self.room = room
  }

  /// The mean size in bytes of the images decoded so far; 0 before the first.
  public var meanPictureBytes: Int {
    lock.withLock { decoded.bytes / max(1, decoded.pictures) }
  }

  /// The decoded image, from the cache or from `decode`.
  private func source(of index: Int, _ decode: () throws -> Image) throws -> Image {
    if let image = lock.withLock({ kept[index] }) { return image }
    let image = try decode()
    lock.withLock {
      decoded = (decoded.pictures + 1, decoded.bytes + image.pixels.count)
      if image.pixels.count <= room, kept.updateValue(image, forKey: index) == nil {
        room -= image.pixels.count
      }
    }
    return image
  }

  /// The pixels of a view, as ``Preprocessor/write(_:into:)`` takes them.
  /// - Parameter size: the input size, to which a crop of the decoded image is resized.
  func pixels(
    of index: Int, view: Int, _ preprocessor: Preprocessor, size: (height: Int, width: Int),
    decode: () throws -> Image
  ) throws -> Image {
    var image = try source(of: index) {
      let image = try decode()
      return augmentation.takesOriginals ? image : try preprocessor.pixels(of: image)
    }
    for step in augmentation.steps {
      switch step {
      case .resizedCrop:
        var draws = draws(.resizedCrop, index, view)
        let part = PixelRectangle.resizedCrop(
          ofWidth: image.width, height: image.height, &draws)
        image = try preprocessor.pixels(of: image, part: part, size: size)
      case .crop:
        let (x, y) = cropOffset(index, view, width: image.width, height: image.height)
        image = try image.cropped(x: x, y: y, width: image.width, height: image.height)
      case .flip: if isFlipped(index, view) { image = image.mirrored() }
      case .jitter:
        var draws = draws(.jitter, index, view)
        image = image.jittered(&draws)
      case .erase: break
      }
    }
    return image
  }

  /// The map of classes of a view, as ``pixels(of:view:_:size:decode:)`` transforms the image: colors and
  /// erased regions do not change it.
  func map(
    _ original: LabelMap, of index: Int, view: Int, _ preprocessor: Preprocessor,
    size: (height: Int, width: Int)
  ) throws -> LabelMap {
    var map = augmentation.takesOriginals ? original : try preprocessor.map(of: original)
    for step in augmentation.steps {
      switch step {
      case .resizedCrop:
        var draws = draws(.resizedCrop, index, view)
        let part = PixelRectangle.resizedCrop(ofWidth: map.width, height: map.height, &draws)
        map = try map.cropped(x: part.x, y: part.y, width: part.width, height: part.height)
          .resized(width: size.width, height: size.height)
      case .crop:
        let (x, y) = cropOffset(index, view, width: map.width, height: map.height)
        map = try map.cropped(x: x, y: y, width: map.width, height: map.height)
      case .flip: if isFlipped(index, view) { map = map.mirrored() }
      case .jitter, .erase: break
      }
    }
    return map
  }

  private func cropOffset(_ index: Int, _ view: Int, width: Int, height: Int) -> (x: Int, y: Int) {
    var draws = draws(.crop, index, view)
    let (padX, padY) = (width / 8, height / 8)
    let y = draws.integer(below: 2 * padY + 1) - padY
    return (draws.integer(below: 2 * padX + 1) - padX, y)
  }

  private func isFlipped(_ index: Int, _ view: Int) -> Bool {
    var draws = draws(.flip, index, view)
    return draws.unit() < 0.5
  }

  /// Applies ``Augmentation/Step/erase`` to a view's normalized values, where 0 is the mean.
  func erase(
    _ values: UnsafeMutableBufferPointer<Float>, of index: Int, view: Int,
    size: (height: Int, width: Int), layout: Preprocessing.Layout
  ) {
    guard augmentation.steps.contains(.erase) else { return }
    var draws = draws(.erase, index, view)
    guard let part = PixelRectangle.erased(ofWidth: size.width, height: size.height, &draws)
    else { return }
    layout.forEachRun(of: part, size: size, count: values.count) { run in
      for position in run { values[position] = 0 }
    }
  }

  private func draws(_ purpose: RandomDraws.Purpose, _ index: Int, _ view: Int) -> RandomDraws {
    RandomDraws(purpose, seed: seed, epoch: view, item: index)
  }
}

extension Image {
  /// Brightness, contrast, saturation and hue changed in a random order.
  fileprivate func jittered(_ draws: inout RandomDraws) -> Image {
    var changes: [(Image) -> Image] = []
    let (brightness, contrast) = (draws.uniform(0.6...1.4), draws.uniform(0.6...1.4))
    let (saturation, hue) = (draws.uniform(0.6...1.4), draws.uniform(-0.1...0.1))
    changes.append { $0.adjustingBrightness(by: Float(brightness)) }
    changes.append { $0.adjustingContrast(by: Float(contrast)) }
    changes.append { $0.adjustingSaturation(by: Float(saturation)) }
    changes.append { $0.turningHue(by: Float(hue)) }
    var image = self
    while !changes.isEmpty {
      image = changes.remove(at: draws.integer(below: changes.count))(image)
    }
    return image
  }
}

extension Preprocessing.Layout {
  /// The contiguous memory ranges of a rectangle in an image tensor of `count` values.
  func forEachRun(
    of part: PixelRectangle, size: (height: Int, width: Int), count: Int,
    _ body: (Range<Int>) -> Void
  ) {
    let channels = count / max(1, size.height * size.width)
    let (planes, pixel) = self == .nchw ? (channels, 1) : (1, channels)
    for plane in 0..<planes {
      for row in part.y..<part.y + part.height {
        let start = ((plane * size.height + row) * size.width + part.x) * pixel
        body(start..<start + part.width * pixel)
      }
    }
  }
}
