// Networks whose inputs have dynamic heights and widths, and their bundles for one and several sizes.

import Foundation
import Graft
import GraftTesting
import Testing

/// An ONNX file with dynamic axes other than the batch, in a test's own folder.
struct SizedModel {
  let folder: String
  let path: String

  /// The two sizes of most tests, as the values of `--input-shape`.
  static let sizes = ["Nx3x12x16", "Nx3x20x24"]

  private init(_ file: ModelFile, in folder: String) throws {
    self.folder = folder
    path = folder + "/model.onnx"
    try Data(file.bytes).write(to: URL(filePath: path))
  }

  /// x [N, 3, h, w] → 5 × 5 convolution → Relu → 1 × 1 convolution → y [N, 16, h, w]: nothing in it depends on
  /// the size.
  static func convolutions(in folder: String) throws -> SizedModel {
    var model = ModelFile()
    model.input("x", ["N", 3, "h", "w"])
    convolution("x", 3, "first", 8, kernel: 5, of: &model)
    convolution("first", 8, "y", 16, kernel: 1, of: &model)
    model.output("y", ["N", 16, "h", "w"])
    return try SizedModel(model, in: folder)
  }

  /// x [N, 3, h, w] → convolution → resized to twice the size, with coefficients that depend on it → convolution
  /// → mean of each channel → y [N, 5].
  static func classifier(in folder: String) throws -> SizedModel {
    var model = ModelFile()
    model.input("x", ["N", 3, "h", "w"])
    convolution("x", 3, "first", 8, kernel: 3, of: &model)
    model.initializer(
      "scales", [4], type: 1,
      data: Wire.bytes(9, Wire.littleEndian([1, 1, 2, 2].map { Float($0).bitPattern })))
    model.node(
      "Resize", ["first", "", "scales"], ["large"], name: "resize",
      attributes: [ModelFile.attribute("mode", text: "linear")])
    convolution("large", 8, "second", 16, kernel: 3, of: &model)
    model.node("GlobalAveragePool", ["second"], ["means"], name: "pool")
    model.node("Flatten", ["means"], ["row"], name: "flatten")
    random("matrix", [16, 5], of: &model)
    model.node("Gemm", ["row", "matrix"], ["y"], name: "head")
    model.output("y", ["N", 5])
    return try SizedModel(model, in: folder)
  }

  /// x [N, 3, h, w] → convolution → times a weight times the height, which importing makes one weight → mean of each
  /// channel → y [N, 5].
  static func scaled(in folder: String) throws -> SizedModel {
    var model = ModelFile()
    model.input("x", ["N", 3, "h", "w"])
    convolution("x", 3, "first", 8, kernel: 3, of: &model)
    random("factor", [1, 8, 1, 1], of: &model)
    model.initializer(
      "axis", [1], type: 7, data: Wire.bytes(9, Wire.littleEndian([Int64(2)])))
    model.node("Shape", ["first"], ["shape"], name: "shape")
    model.node("Gather", ["shape", "axis"], ["height"], name: "height")
    model.node(
      "Cast", ["height"], ["real"], name: "real", attributes: [ModelFile.attribute("to", int: 1)])
    model.node("Mul", ["factor", "real"], ["scale"], name: "scale")
    model.node("Mul", ["first", "scale"], ["scaled"], name: "scaled")
    model.node("GlobalAveragePool", ["scaled"], ["means"], name: "pool")
    model.node("Flatten", ["means"], ["row"], name: "flatten")
    random("matrix", [8, 5], of: &model)
    model.node("Gemm", ["row", "matrix"], ["y"], name: "head")
    model.output("y", ["N", 5])
    return try SizedModel(model, in: folder)
  }

  /// a [N, p] times a number, followed by b [N, q] → y [N, p + q].
  static func twoInputs(in folder: String) throws -> SizedModel {
    var model = ModelFile()
    model.input("a", ["N", "p"])
    model.input("b", ["N", "q"])
    random("scale", [1], of: &model)
    model.node("Mul", ["a", "scale"], ["scaled"], name: "scaled")
    model.node(
      "Concat", ["scaled", "b"], ["y"], name: "both",
      attributes: [ModelFile.attribute("axis", int: 1)])
    model.output("y", ["N", "r"])
    return try SizedModel(model, in: folder)
  }

  private static func convolution(
    _ from: String, _ channels: Int, _ to: String, _ outputs: Int, kernel: Int,
    of model: inout ModelFile
  ) {
    random("\(to).weight", [outputs, channels, kernel, kernel], of: &model)
    random("\(to).bias", [outputs], of: &model)
    let pads = Array(repeating: kernel / 2, count: 4)
    model.node(
      "Conv", [from, "\(to).weight", "\(to).bias"], ["\(to).sum"], name: to,
      attributes: [ModelFile.attribute("pads", ints: pads)])
    model.node("Relu", ["\(to).sum"], [to], name: "\(to).relu")
  }

  private static func random(_ name: String, _ shape: [Int], of model: inout ModelFile) {
    var random = SplitMix(seed: UInt64(name.utf8.count) &* 31 &+ UInt64(shape.reduce(1, *)))
    let bits = (0..<shape.reduce(1, *)).map { _ in
      (random.number(in: -1...1) as Float).bitPattern
    }
    model.initializer(name, shape, type: 1, data: Wire.bytes(9, Wire.littleEndian(bits)))
  }

  /// Compiles the model for the sets of shapes, each by input.
  func compile(
    _ shapes: [[String: String]], as name: String,
    _ change: (inout Compiler.Options) -> Void = { _ in }
  ) throws -> ModelBundle {
    var options = Compiler.Options()
    options.inputShapes = try shapes.map { try $0.mapValues { try #require(InputShape($0)) } }
    change(&options)
    let bundle = folder + "/" + name + ".graft"
    try Compiler(options).compile(path, to: bundle)
    return try ModelBundle(opening: bundle)
  }

  /// Compiles it for the sizes of its only input x.
  func compile(
    _ sizes: [String] = Self.sizes, _ change: (inout Compiler.Options) -> Void = { _ in }
  ) throws -> ModelBundle {
    try compile(sizes.map { ["x": $0] }, as: sizes.joined(separator: "_"), change)
  }
}

/// Random float32 numbers.
func randomTensor(_ shape: [Int], seed: UInt64 = 1) throws -> Tensor {
  var random = SplitMix(seed: seed)
  return try Tensor(
    shape: shape, elements: (0..<shape.reduce(1, *)).map { _ in random.number(in: -1...1) })
}
