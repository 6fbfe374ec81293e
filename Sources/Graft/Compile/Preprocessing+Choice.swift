// Converts the value of `--preprocess` to a specification for the network's input.

import GraftData
import GraftDiagnostics
import GraftIR

extension Compiler {
  /// The names of the presets.
  public static let preprocessingNames = Preprocessing.Preset.allCases.map(\.rawValue) + ["none"]
}

extension Preprocessing {
  /// `none`, a preset's name, or the path of a JSON file.
  /// - Parameter graphs: the network for each set of input shapes. A preset is for the first; a file must match
  ///   one of them.
  /// - Returns: nil for `none`.
  /// - Throws: ``GraftError`` if there is no such preset or file, or if it does not match the network's only
  ///   input or its outputs.
  static func chosen(_ choice: String, for graphs: [Graph]) throws -> Preprocessing? {
    if choice == "none" { return nil }
    let inputs = try graphs.map { try pictureInput(of: $0) }
    let (shape, elements) = inputs[0]
    guard let preset = Preset(rawValue: choice) else {
      let specification = try Preprocessing(contentsOf: choice)
      try at(SourceLocation(file: choice)) { try specification.check(graphs) }
      return specification
    }
    guard let layout = Layout(inputShape: shape) else {
      throw GraftError(
        .invalidArgument, "the input of shape \(TensorShape(shape)) is not an image",
        advice: "Omit --preprocess, or pass none.")
    }
    return try Preprocessing(preset, inputShape: shape, layout: layout, elements: elements)
  }

  /// Checks that an image becomes the input of one of the graphs, and that outputs are what it says.
  /// - Throws: ``GraftError`` of kind `invalidArgument` with the shapes.
  func check(_ graphs: [Graph]) throws {
    let inputs = try graphs.map { try Self.pictureInput(of: $0) }
    if !inputs.contains(where: { gives($0.shape) }) { try check(inputShape: inputs[0].shape) }
    try check(elements: inputs[0].elements)
    try check(outputShapes: graphs.flatMap(\.outputShapes))
  }

  /// The shape of the network's only input, without the batch, and its element type.
  private static func pictureInput(
    of graph: Graph
  ) throws -> (shape: [Int], elements: DataType) {
    guard graph.inputs.count == 1, let input = graph.inputs.first else {
      throw GraftError(
        .invalidArgument,
        "preprocessing needs a network with one input, this one has \(graph.inputs.count)")
    }
    let extents = try graph.type(of: input).shape.extents(batch: 1)
    return (Array(extents.dropFirst()), graph.type(of: input).dtype)
  }
}

extension Graph {
  /// The shapes of the outputs without the batch; nil for those that are not fixed.
  var outputShapes: [[Int]?] {
    outputs.map { TensorShape(Array(type(of: $0.value).shape.dimensions.dropFirst())).constants }
  }
}
