// A network with the preprocessing, batching and labels for a data set. Prediction and evaluation use it.

import GraftAutodiff
import GraftData
import GraftDiagnostics
import GraftIR

/// A bundle as a classifier of data set items.
package struct ImageNetwork {
  package let bundle: ModelBundle
  /// The program that takes its data, an index into ``Manifest/programs``.
  package let program: Int
  package let inputs: [TensorSpecification]
  /// The output with the classes.
  package let output: TensorSpecification
  /// The number of output values per item.
  package let outputWidth: Int
  /// Where the output has class scores for every position of an item; nil if it is one row.
  package let positions: Positions?
  /// The output if it is an image; then it has no classes.
  package let picture: PictureOutput?
  package let activation: Manifest.OutputActivation
  /// The name that the output was chosen by, and whether it may be an image.
  private let outputName: String?
  private let seesPictures: Bool
  /// Warnings about the output.
  package private(set) var warnings: [Warning] = []

  /// - Parameters:
  ///   - name: the output to use; nil takes the one that is an image, else the one that looks most like class
  ///     scores.
  ///   - seesPictures: whether an output that the preprocessing describes as an image is one, and not class scores.
  ///   - program: an index into ``Manifest/programs``; nil takes the first whose input the preprocessing makes,
  ///     else the first.
  /// - Throws: ``GraftError`` if there is no such output, or it is not one row per item.
  package init(
    _ bundle: ModelBundle, output name: String? = nil, seesPictures: Bool = true,
    program: Int? = nil
  ) throws {
    self.bundle = bundle
    outputName = name
    let manifest = bundle.manifest
    let location = SourceLocation(file: bundle.path)
    self.seesPictures = seesPictures
    self.program = program ?? Self.program(ofImagesIn: manifest)
    let described = manifest.programs[self.program]
    inputs = try described.inputs.map { try Self.specification($0) }
    let outputs = described.outputs
    let names = outputs.map(\.name.quotedForDisplay).joined(separator: ", ")
    func picture(_ tensor: Manifest.Tensor) -> PictureOutput? {
      guard seesPictures, manifest.preprocessing?.output != nil,
        let shape = (try? Self.specification(tensor))?.shape
      else { return nil }
      return PictureOutput(manifest.preprocessing, shape: shape)
    }
    let index =
      name.map { wanted in outputs.firstIndex { $0.name == wanted } }
      ?? outputs.firstIndex { picture($0) != nil } ?? manifest.classOutput ?? 0
    guard let index, outputs.indices.contains(index) else {
      throw GraftError(
        name == nil ? .unsupported : .invalidArgument,
        name.map { "there is no output \($0.quotedForDisplay)" } ?? "the network has no output",
        at: location, advice: name == nil ? nil : "The outputs are: \(names).")
    }
    let chosen = outputs[index]
    output = try Self.specification(chosen)
    guard let width = output.elementCount else {
      throw GraftError(
        .invalidBundle, "the output \(chosen.name.quotedForDisplay) is too large: \(output.shape)",
        at: location)
    }
    outputWidth = width
    self.picture = picture(chosen)
    positions =
      index == manifest.classOutput ?? 0 && self.picture == nil
      ? Positions(output, classAxis: manifest.classAxis) : nil
    let each = manifest.outputActivations ?? []
    activation =
      index == manifest.classOutput ?? 0
      ? manifest.outputActivation : each.indices.contains(index) ? each[index] : .none
    if name == nil, outputs.count > 1 {
      warnings.append(
        Warning(
          "the outputs are \(names): \(chosen.name.quotedForDisplay) is used "
            + (self.picture == nil ? "for the class scores" : "as the image")
            + "; --output NAME chooses another", at: location))
    }
  }

  /// The first program whose input the preprocessing makes, of any batch size if there is one; without
  /// preprocessing, the first.
  private static func program(ofImagesIn manifest: Manifest) -> Int {
    guard let preprocessing = manifest.preprocessing else { return 0 }
    let fitting = manifest.programs.indices.filter { index in
      let inputs = manifest.programs[index].inputs
      guard inputs.count == 1, let input = try? specification(inputs[0]) else { return false }
      return preprocessing.gives(input.shape)
    }
    return fitting.first { manifest.programs[$0].hasFreeBatch } ?? fitting.first ?? 0
  }

  /// The network for the data at `path`: if these are tensors, with the program for their shapes.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if the bundle has several programs, but none for the
  ///   tensors, with the shapes that there are.
  package func taking(dataAt path: String) throws -> ImageNetwork {
    guard bundle.manifest.programs.count > 1,
      let rows = TensorFolder.rowShapes(path, inputs: inputs.map(\.name))
    else { return self }
    let shapes = zip(inputs, rows).map { ($0.name, [1] + $1) }
    let program = try at(SourceLocation(file: path)) {
      try ProgramChoice(bundle.manifest).program(
        forShapes: Dictionary(shapes, uniquingKeysWith: { first, _ in first })
      ).index
    }
    return try program == self.program
      ? self
      : ImageNetwork(
        bundle, output: outputName, seesPictures: seesPictures, program: program)
  }

  /// The network with the programs for images of other sizes, one for each; none if the preprocessing makes all images
  /// the same size.
  func forOtherSizes() throws -> [ImageNetwork] {
    guard let preprocessing = bundle.manifest.preprocessing, preprocessing.fixedSize == nil else {
      return []
    }
    var networks: [ImageNetwork] = []
    for index in bundle.manifest.programs.indices where index != program {
      let network = try ImageNetwork(
        bundle, output: outputName, seesPictures: seesPictures, program: index)
      guard network.inputs.count == 1, let shape = network.inputs.first?.shape,
        preprocessing.gives(shape),
        !([self] + networks).contains(where: { $0.inputs.first?.shape == shape })
      else { continue }
      networks.append(network)
    }
    return networks
  }

  /// - Throws: ``GraftError`` of kind `unsupported` if the output is not one row of scores per item.
  package func requireClasses() throws {
    guard picture == nil else {
      throw GraftError(
        .unsupported, "the output \(output.name.quotedForDisplay) is an image",
        at: SourceLocation(file: bundle.path), advice: "Use ImageTranslator and ValueEvaluator.")
    }
    guard output.shape.count(where: { $0 != 1 }) > 1 else { return }
    guard positions == nil else {
      throw GraftError(
        .unsupported,
        "the output \(output.name.quotedForDisplay) has class scores for every position of an item",
        at: SourceLocation(file: bundle.path), advice: "Use Segmenter and SegmentationEvaluator.")
    }
    let rows = bundle.manifest.programs[program].outputs.filter { other in
      (try? Self.specification(other)).map { $0.shape.count { $0 != 1 } <= 1 } ?? false
    }
    throw GraftError(
      .unsupported,
      "the output \(output.name.quotedForDisplay) has the shape \(output.shape) for each item, not one "
        + "row of class scores", at: SourceLocation(file: bundle.path),
      advice: rows.isEmpty
        ? "graft run writes the outputs of any network."
        : "Choose another with --output: "
          + rows.map(\.name.quotedForDisplay).joined(separator: ", ") + ".")
  }

  /// - Throws: ``GraftError`` of kind `unsupported` if the output does not have scores of two or more classes
  ///   for every position.
  package func requirePositions() throws {
    let location = SourceLocation(file: bundle.path)
    let subject = "the output \(output.name.quotedForDisplay)"
    guard positions != nil else {
      throw GraftError(
        .unsupported, "\(subject) has one row for each item, not a class for every pixel",
        at: location)
    }
    guard !isMultiLabel else {
      throw GraftError(
        .unsupported,
        "\(subject) has independent probabilities of \(classCount) classes for every pixel",
        at: location, advice: "graft run writes the outputs of any network.")
    }
    guard (2...LabelMap.classLimit).contains(classCount) else {
      throw GraftError(
        .unsupported,
        "\(subject) has \(classCount) \(classCount == 1 ? "score" : "classes") for every pixel; supported are "
          + "2 to \(LabelMap.classLimit) classes, or one with a sigmoid", at: location,
        advice: "graft run writes the outputs of any network.")
    }
  }

  /// An item's output as class scores of positions.
  package func positionScores(_ row: ArraySlice<Float>) -> PositionScores? {
    positions.map { PositionScores(row, units: $0.units, stride: $0.stride) }
  }

  /// What the scores of positions are.
  package var positionKind: ClassificationMetrics.OutputKind {
    guard givesProbabilities else { return .scores }
    return isBinary || activation == .softmax ? .probabilities : .logits
  }

  /// The warning if ``givesProbabilities`` is false.
  package var scoreWarning: Warning? {
    givesProbabilities
      ? nil
      : Warning(
        "the output \(output.name.quotedForDisplay) "
          + (outputWidth == 1
            ? "is a single number without a sigmoid" : "ends in neither a softmax nor a sigmoid")
          + ", so its values are shown as scores, not as probabilities",
        at: SourceLocation(file: bundle.path))
  }

  /// Whether the output is the probability of the second of two classes.
  package var isBinary: Bool { activation == .sigmoid && unitCount == 1 }
  /// Whether each class has an independent probability.
  package var isMultiLabel: Bool { activation == .sigmoid && unitCount > 1 }
  /// The number of classes.
  package var classCount: Int { isBinary ? 2 : unitCount }
  /// Whether the output determines class probabilities.
  package var givesProbabilities: Bool {
    activation != .other && (activation == .sigmoid || unitCount > 1)
  }
  /// The number of scores per item, or of each of its positions.
  private var unitCount: Int { positions?.units ?? outputWidth }

  /// An output with class scores for every position, such as the pixels of an image.
  package struct Positions: Sendable {
    /// The number of scores of each position.
    package let units: Int
    /// The number of elements between a position's scores.
    package let stride: Int
    /// The size of the map: height and width, or 1 and the number of positions if it is no image.
    package let height: Int
    package let width: Int

    /// - Parameter classAxis: counted with the batch.
    fileprivate init?(_ output: TensorSpecification, classAxis: Int?) {
      guard let axis = classAxis.map({ $0 - 1 }), output.shape.indices.contains(axis),
        output.element.isFloatingPoint
      else { return nil }
      units = output.shape[axis]
      stride = output.shape[(axis + 1)...].reduce(1, *)
      var extents = output.shape
      extents.remove(at: axis)
      width = extents.last ?? 1
      height = extents.dropLast().reduce(1, *)
    }
  }

  /// The size of the map of classes, if the output is one.
  package var mapSize: (height: Int, width: Int)? { positions.map { ($0.height, $0.width) } }

  /// The targets that training needs: images, or else classes.
  package var targetKind: TargetKind {
    if picture != nil { return .pictures(output) }
    if let positions { return .maps(height: positions.height, width: positions.width) }
    return activation == .sigmoid ? .labels : .classes
  }

  /// An input or output without its first axis, which must be the batch, or 1 if the batch size is fixed.
  private static func specification(_ tensor: Manifest.Tensor) throws -> TensorSpecification {
    let type = try tensor.type()
    let shape = type.shape
    guard shape.rank >= 1, shape[0] == .batch || shape[0] == 1,
      let rest = TensorShape(Array(shape.dimensions.dropFirst())).constants
    else {
      throw GraftError(
        .unsupported,
        "\(tensor.name.quotedForDisplay) has the shape \(shape); its first axis must be the batch")
    }
    return TensorSpecification(name: tensor.name, shape: rest, element: type.dtype)
  }

  /// The output if it is an image.
  /// - Throws: ``GraftError`` of kind `unsupported` if it is none.
  package func requirePicture() throws -> PictureOutput {
    guard let picture else {
      throw GraftError(
        .unsupported, "the output \(output.name.quotedForDisplay) is no image",
        at: SourceLocation(file: bundle.path),
        advice: "Describe an output that is one by output in the preprocessing "
          + "(graft compile BUNDLE -o NEW.graft --preprocess FILE.json).")
    }
    return picture
  }

  /// The largest batch size of at most `wanted` that the network supports.
  package func batchSize(_ wanted: Int) -> Int { hasFreeBatch ? wanted : 1 }

  /// Whether the batch size is dynamic.
  package var hasFreeBatch: Bool { bundle.manifest.programs[program].hasFreeBatch }

  /// The tensors of a batch by input name.
  package func tensors(_ batch: Batch) throws -> [String: Tensor] {
    var tensors: [String: Tensor] = [:]
    for (input, values) in zip(inputs, batch.inputs) {
      tensors[input.name] = try Tensor(values, of: input, count: batch.count)
    }
    return tensors
  }

  /// The class probabilities of one row of the output, with a softmax if the network has none, or the row
  /// itself if it does not determine probabilities.
  package func scores(_ row: ArraySlice<Float>) -> [Float] {
    switch activation {
    case .sigmoid where isBinary: (row.first.map { [1 - $0, $0] }) ?? []
    case .softmax, .sigmoid, .other: Array(row)
    case .none where outputWidth == 1: Array(row)
    // The softmax of log probabilities is the probabilities.
    case .logSoftmax, .none: Scores.softmax(row)
    }
  }

  /// The `count` classes with the largest scores in a row.
  package func best(_ count: Int, of row: ArraySlice<Float>) -> [Int] {
    // Logits can differ when their probabilities round to the same value.
    Scores.best(count, of: isBinary ? scores(row)[...] : row)
  }

  /// - Throws: ``GraftError`` of kind `invalidData` if the output is not finite; the caller adds the item.
  package func check(_ row: ArraySlice<Float>) throws {
    let isLogarithm = activation == .logSoftmax || activation == .none
    guard let wrong = row.first(where: { !$0.isFinite && !(isLogarithm && $0 == -.infinity) })
    else { return }
    throw GraftError(
      .invalidData,
      "the network's output \(output.name.quotedForDisplay) contains "
        + (wrong.isNaN ? "NaN" : "an infinite value"),
      advice:
        "Check the item's values and the network's weights: graft run --dump-values DIR writes the "
        + "intermediate values.")
  }

  /// The class's label, or its index if the bundle has no labels.
  package func label(_ index: Int) -> String {
    guard let labels = bundle.manifest.labels, labels.indices.contains(index) else {
      return "\(index)"
    }
    return labels[index]
  }
}

extension Tensor {
  /// The values of `count` items, converted to the element type of the input.
  /// - Throws: ``GraftError`` of kind `invalidData` for a value that the type cannot represent.
  package init(_ numbers: [Float], of input: TensorSpecification, count: Int) throws {
    let bytes = try at(SourceLocation(node: input.name, operatorName: "input")) {
      try input.element.bytes(of: numbers)
    }
    try self.init(input.element, shape: [count] + input.shape, bytes: bytes)
  }
}
