// Random views of the images of a data set, and the cache of decoded images and targets that views are made from.

import Foundation
import GraftDiagnostics

/// Random views of a data set's images. View v of an image depends only on the seed, v and the image's index.
public final class AugmentedViews: @unchecked Sendable {
  // The lock guards the cache; everything else is immutable.
  public let augmentation: Augmentation
  public let seed: UInt64
  private let lock = NSLock()
  private var kept: [Key: Source] = [:]
  private var room: Int
  private var decoded = (items: 0, bytes: 0)

  /// The image of an item, or its target.
  private struct Key: Hashable {
    var index: Int
    var isTarget: Bool
  }

  /// The image that views are made from, and its size when it was decoded.
  private struct Source {
    var image: Image
    var decoded: PixelSize
  }

  /// The default maximum size of the decoded image cache in bytes.
  public static let defaultRoom = 512 << 20

  /// - Parameter room: the maximum size of the decoded image cache in bytes; other images are decoded for
  ///   every view.
  public init(_ augmentation: Augmentation, seed: UInt64, room: Int = AugmentedViews.defaultRoom) {
    self.augmentation = augmentation
    self.seed = seed
    self.room = room
  }

  /// The mean size in bytes of the images of an item, with its target if that is one, of those decoded so far; 0 before
  /// the first.
  public var meanPictureBytes: Int {
    lock.withLock { decoded.bytes / max(1, decoded.items) }
  }

  /// The image that views are made from, from the cache or from `make`.
  private func source(_ key: Key, _ make: () throws -> Source) throws -> Source {
    if let source = lock.withLock({ kept[key] }) { return source }
    let source = try make()
    let bytes = source.image.pixels.count
    lock.withLock {
      decoded.items += key.isTarget ? 0 : 1
      decoded.bytes += bytes
      if bytes <= room, kept.updateValue(source, forKey: key) == nil { room -= bytes }
    }
    return source
  }

  /// The pixels of a view, as ``Preprocessor/coder`` takes them, and the size of the decoded image.
  /// - Parameter size: the input size, to which a crop of the decoded image is resized.
  func pixels(
    of index: Int, view: Int, _ preprocessor: Preprocessor, size: PixelSize,
    decode: () throws -> Image
  ) throws -> (pixels: Image, decoded: PixelSize) {
    let isGray = preprocessor.specification.color == .gray
    let source = try source(Key(index: index, isTarget: false)) {
      let image = try decode()
      return Source(
        image: try augmentation.takesOriginals
          ? isGray ? image.convertedToGray() : image : preprocessor.pixels(of: image),
        decoded: image.size)
    }
    var image = try moved(
      source.image, of: index, view: view, as: source.image.size, to: size, preprocessor)
    if !isGray { image = image.expandedToRGB() }
    if augmentation.steps.contains(.jitter) {
      var draws = draws(.jitter, index, view)
      image = image.jittered(&draws)
    }
    return (image, source.decoded)
  }

  /// The map of classes of a view, which moves like the image.
  func map(
    _ original: LabelMap, of index: Int, view: Int, _ preprocessor: Preprocessor, size: PixelSize
  ) throws -> LabelMap {
    let map = try augmentation.takesOriginals ? original : preprocessor.map(of: original)
    return try moved(map, of: index, view: view, as: map.size, to: size, preprocessor)
  }

  /// The target of a view, which moves like the image.
  /// - Parameters:
  ///   - image: the size of the decoded image.
  ///   - size: the input size.
  func target(
    of index: Int, view: Int, _ preprocessor: Preprocessor, image: PixelSize, size: PixelSize,
    output: PictureOutput, decode: () throws -> Image
  ) throws -> Image {
    let isGray = output.coder.values.color == .gray
    let source = try source(Key(index: index, isTarget: true)) {
      let target = try decode()
      guard augmentation.takesOriginals else {
        return Source(
          image: try preprocessor.target(target, for: image, as: output), decoded: target.size)
      }
      try preprocessor.checkProportions(of: target.size, to: image, output)
      return Source(image: isGray ? target.convertedToGray() : target, decoded: target.size)
    }
    let moved = try moved(
      source.image, of: index, view: view, as: augmentation.takesOriginals ? image : size,
      to: output.size, preprocessor)
    return isGray ? moved : moved.expandedToRGB()
  }

  /// A view of pixels that cover the same region as an image, possibly in another resolution: its geometric steps.
  /// - Parameters:
  ///   - image: the size of the image, for which regions are drawn.
  ///   - size: the size of a region after it is resized.
  private func moved<Grid: PixelGrid>(
    _ original: Grid, of index: Int, view: Int, as image: PixelSize, to size: PixelSize,
    _ preprocessor: Preprocessor
  ) throws -> Grid {
    var grid = original
    for step in augmentation.steps {
      switch step {
      case .resizedCrop:
        var draws = draws(.resizedCrop, index, view)
        let part = PixelRectangle.resizedCrop(
          ofWidth: image.width, height: image.height, &draws)
        grid = try grid.cropped(to: part.scaled(from: image, to: grid.size))
          .resized(to: size, by: preprocessor.specification.resize ?? .init(.shorter(1)))
      case .crop:
        let (x, y) = cropOffset(index, view, width: image.width, height: image.height)
        let part = PixelRectangle(x: x, y: y, width: image.width, height: image.height)
        grid = try grid.cropped(to: part.scaled(from: image, to: grid.size))
      case .flip: if isFlipped(index, view) { grid = grid.mirrored() }
      // They move nothing: colors come after all geometric steps, erased regions after the normalization.
      case .jitter, .erase: break
      }
    }
    return grid
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
    size: PixelSize, layout: Preprocessing.Layout
  ) {
    guard augmentation.steps.contains(.erase) else { return }
    var draws = draws(.erase, index, view)
    guard let part = PixelRectangle.erased(ofWidth: size.width, height: size.height, &draws)
    else { return }
    layout.forEachRun(of: part, size: (size.height, size.width), count: values.count) { run in
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
