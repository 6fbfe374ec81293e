// Reads one item of a data set as a network's inputs and target.

import GraftDiagnostics
import GraftIR

/// Reads and preprocesses one item.
struct ItemReader: Sendable {
  struct Item: Sendable {
    var inputs: [[Float]]
    var target: Target
    /// Which of the shapes an image has: 0 for that of ``ItemReader/inputs``, then those of
    /// ``ItemReader/otherShapes``.
    var shape = 0
  }

  let dataset: any Dataset
  let inputs: [TensorSpecification]
  /// Other shapes that the input may have if it is an image.
  let otherShapes: [[Int]]
  let preprocessor: Preprocessor?
  let view: (views: AugmentedViews, number: Int)?
  let mapSize: (height: Int, width: Int)?
  let picture: PictureOutput?
  /// Values per item, for each input.
  let sizes: [Int]

  init(
    dataset: any Dataset, inputs: [TensorSpecification], otherShapes: [[Int]] = [],
    preprocessing: Preprocessing?, view: (views: AugmentedViews, number: Int)?,
    mapSize: (height: Int, width: Int)?, picture: PictureOutput?
  ) throws {
    sizes = try inputs.map { input in
      guard let count = input.elementCount, count > 0 else {
        throw GraftError(
          .invalidArgument, "the input \(input.name.quotedForDisplay) has the shape \(input.shape)")
      }
      return count
    }
    if dataset.holdsImages {
      guard inputs.count == 1, let input = inputs.first, let preprocessing else {
        throw GraftError(
          .invalidArgument,
          inputs.count == 1
            ? "images need preprocessing, which the bundle does not have"
            : "images cannot be the input of a network with \(inputs.count) inputs",
          at: SourceLocation(file: dataset.location),
          advice: inputs.count == 1
            ? "Compile the bundle with --preprocess." : "Provide its inputs as .npy files.")
      }
      try preprocessing.check(inputShape: input.shape)
      try preprocessing.check(elements: input.element)
    }
    self.dataset = dataset
    self.inputs = inputs
    self.otherShapes = otherShapes
    self.view = view
    self.mapSize = mapSize
    self.picture = picture
    preprocessor = preprocessing.map(Preprocessor.init)
  }

  func read(_ index: Int) throws -> Item {
    if let view, dataset.holdsImages {
      return try at(SourceLocation(file: dataset.path(of: index))) {
        try item(index, view.number, view.views)
      }
    }
    let sample = try dataset.sample(at: index)
    switch sample.content {
    case .tensors(let values):
      guard values.map(\.count) == sizes else {
        throw GraftError(.inconsistency, "item \(index) has the wrong number of values")
      }
      return Item(inputs: values, target: sample.target)
    case .image(let image):
      return try at(SourceLocation(file: dataset.path(of: index))) {
        let (preprocessor, input) = try feeding()
        let pixels = try preprocessor.pixels(of: image)
        let target = try at(SourceLocation(file: dataset.targetPath(of: index))) {
          switch sample.target {
          case .map(let map): Target.map(try scaled(preprocessor.map(of: map)))
          case .picture(let picture):
            try values { try preprocessor.target(picture, for: image.size, as: $0) }
          case .label, .values, .unknown: sample.target
          }
        }
        let made = try self.values(of: pixels, from: image.size, preprocessor, input)
        return Item(inputs: [made.values], target: target, shape: made.shape)
      }
    }
  }

  /// The values of a target that is an image.
  private func values(of target: (PictureOutput) throws -> Image) throws -> Target {
    guard let picture else {
      throw GraftError(.inconsistency, "a target that is an image, of a network that gives none")
    }
    return .values(try picture.coder.values(of: target(picture)))
  }

  private func scaled(_ map: LabelMap) throws -> LabelMap {
    try mapSize.map { try map.resized(width: $0.width, height: $0.height) } ?? map
  }

  private func feeding() throws -> (Preprocessor, TensorSpecification) {
    guard let preprocessor, let input = inputs.first else {
      throw GraftError(.inconsistency, "an image without preprocessing")
    }
    return (preprocessor, input)
  }

  /// A random view.
  private func item(_ index: Int, _ number: Int, _ views: AugmentedViews) throws -> Item {
    let (preprocessor, input) = try feeding()
    let layout = preprocessor.specification.layout
    let extent =
      layout == .nchw
      ? PixelSize(height: input.shape[1], width: input.shape[2])
      : PixelSize(height: input.shape[0], width: input.shape[1])
    let (pixels, decoded) = try views.pixels(
      of: index, view: number, preprocessor, size: extent
    ) {
      guard case .image(let image) = try dataset.sample(at: index).content else {
        throw GraftError(.inconsistency, "item \(index) is not an image")
      }
      return image
    }
    let target = try at(SourceLocation(file: dataset.targetPath(of: index))) {
      try self.target(of: index, number, views, preprocessor, image: decoded, size: extent)
    }
    var values = try values(of: pixels, from: decoded, preprocessor, input).values
    values.withUnsafeMutableBufferPointer {
      views.erase($0, of: index, view: number, size: extent, layout: layout)
    }
    return Item(inputs: [values], target: target)
  }

  /// The target of a random view of an image of this size.
  private func target(
    of index: Int, _ number: Int, _ views: AugmentedViews, _ preprocessor: Preprocessor,
    image: PixelSize, size: PixelSize
  ) throws -> Target {
    // Images are decoded only if the views do not have them.
    if picture != nil {
      return try values { output in
        try views.target(
          of: index, view: number, preprocessor, image: image, size: size, output: output
        ) {
          guard case .picture(let target) = try dataset.target(of: index) else {
            throw GraftError(.inconsistency, "item \(index) has no image as its target")
          }
          return target
        }
      }
    }
    let target = try dataset.target(of: index)
    guard case .map(let map) = target else { return target }
    return .map(
      try scaled(views.map(map, of: index, view: number, preprocessor, size: size)))
  }

  /// - Returns: the values, and which of the shapes they have.
  private func values(
    of pixels: Image, from image: PixelSize, _ preprocessor: Preprocessor,
    _ input: TensorSpecification
  ) throws -> (values: [Float], shape: Int) {
    let specification = preprocessor.specification
    let shape = specification.layout.shape(
      channels: specification.color.channels, height: pixels.height, width: pixels.width)
    let shapes = [input.shape] + otherShapes
    guard let index = shapes.firstIndex(of: shape) else {
      throw GraftError(
        .invalidData,
        "the image is \(image.height) × \(image.width) and becomes an input of shape \(shape); "
          + "the network needs \(shapes.map { "\($0)" }.joined(separator: " or "))",
        advice: "Use preprocessing with a resize or a crop, which gives all images the same size.")
    }
    return (try preprocessor.coder.values(of: pixels), index)
  }
}
