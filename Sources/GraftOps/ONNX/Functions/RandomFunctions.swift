// ONNX operators of random numbers. What they draw is a constant: the same in every run, and for every image of a
// batch of any size, so that an image's result depends neither on its place in the batch nor on other images. The
// seed decides, or where there is none the node's name.

import Foundation
import GraftDiagnostics
import GraftIR

extension ONNXFunction {
  static let random: [ONNXFunction] = [
    /// ONNX RandomNormal, opsets 1, 22; https://onnx.ai/onnx/operators/onnx__RandomNormal.html
    ONNXFunction("RandomNormal", appliesToConstants: true) { f in
      let type = try f.node.drawnType(like: nil)
      return [try f.drawn(type) { try $0.normal(&$1) }]
    },
    ONNXFunction("RandomNormalLike", appliesToConstants: true) { f in
      let type = try f.node.drawnType(like: f.input(0).type)
      return [try f.drawn(type) { try $0.normal(&$1) }]
    },
    /// ONNX RandomUniform, opsets 1, 22; https://onnx.ai/onnx/operators/onnx__RandomUniform.html
    ONNXFunction("RandomUniform", appliesToConstants: true) { f in
      let type = try f.node.drawnType(like: nil)
      return [try f.drawn(type) { try $0.uniform(&$1) }]
    },
    ONNXFunction("RandomUniformLike", appliesToConstants: true) { f in
      let type = try f.node.drawnType(like: f.input(0).type)
      return [try f.drawn(type) { try $0.uniform(&$1) }]
    },
    /// ONNX Bernoulli, opsets 15, 22; https://onnx.ai/onnx/operators/onnx__Bernoulli.html. 1 with the probability that
    /// the input is, else 0.
    ONNXFunction("Bernoulli", since: 15, appliesToConstants: true) { f in
      let p = try f.input(0)
      let type = try f.node.drawnType(like: p.type, takesWholeNumbers: true)
      guard p.type.dtype.isFloatingPoint else {
        throw GraftError(.invalidModel, "probabilities of \(p.type)")
      }
      let draws = try f.drawn(TensorType(p.type.dtype, p.shape)) { $1.unit() }
      return [try f.cast(try f.apply(Less(), draws, p), to: type.dtype)]
    },
    /// ONNX Multinomial, opsets 7, 22; https://onnx.ai/onnx/operators/onnx__Multinomial.html. For each row of logarithms
    /// [N, classes] the classes [N, sample_size] that are drawn: the largest after adding Gumbel noise.
    ONNXFunction("Multinomial", since: 7, appliesToConstants: true) { f in
      let x = try f.input(0)
      let count = try f.node.int("sample_size", default: 1)
      let code = try f.node.int("dtype", default: DataType.int32.onnxCode)
      guard x.rank == 2, x.type.dtype.isFloatingPoint, let classes = x.shape[1].constant,
        classes >= 1, (1...largestConstant).contains(count), let dtype = DataType(onnx: code),
        dtype == .int32 || dtype == .int64
      else {
        throw GraftError(
          .invalidModel, "\(count) samples of \(DataType.onnxName(code)) from \(x.type)")
      }
      let noise = try f.drawn(
        TensorType(x.type.dtype, [x.shape[0], Dimension(count), Dimension(classes)])
      ) { -Double.log(-Double.log($1.open())) }
      let scores = try f.apply(
        Add(), noise, try f.reshape(x, to: [x.shape[0], 1, Dimension(classes)]))
      return [
        try f.cast(try f.apply(ArgReduction(axis: 2, keepsAxis: false), scores), to: dtype)
      ]
    },
  ]
}

/// Random words of one node, one after the other.
struct Draws {
  private let key: (UInt32, UInt32)
  private var next: UInt64 = 0
  private var words: [UInt32] = []

  /// - Parameter key: of Philox4x32-10.
  init(key: (UInt32, UInt32)) { self.key = key }

  private mutating func word() -> UInt32 {
    if words.isEmpty {
      words = Philox4x32.block(
        key: key, counter: (0, 0, UInt32(next >> 32), UInt32(truncatingIfNeeded: next)))
      next += 1
    }
    return words.removeLast()
  }

  /// Uniform in 0..<1, in steps that float32 holds exactly.
  mutating func unit() -> Double { Double(word() >> 8) * 0x1p-24 }

  /// Uniform between 0 and 1, neither of which it is.
  mutating func open() -> Double { (Double(word()) + 0.5) * 0x1p-32 }

  /// With mean 0 and variance 1: Box and Muller 1958.
  mutating func standardNormal() -> Double {
    let radius = (-2 * Double.log(open())).squareRoot()
    return radius * Double.cos(2 * Double.pi * open())
  }
}

extension ONNXNode {
  /// The type of the random numbers: as the attributes say, or that of an input.
  fileprivate func drawnType(
    like input: TensorType?, takesWholeNumbers: Bool = false
  ) throws -> TensorType {
    let code = try int("dtype", default: (input?.dtype ?? .float32).onnxCode)
    guard let dtype = DataType(onnx: code), takesWholeNumbers || dtype.isFloatingPoint else {
      throw GraftError(.unsupported, "random numbers of \(DataType.onnxName(code))")
    }
    guard let input else {
      let shape = try requiredInts("shape")
      guard shape.allSatisfy({ (0...ONNXFunction.largestConstant).contains($0) }) else {
        throw GraftError(.invalidModel, "the shape \(shape)")
      }
      return TensorType(dtype, TensorShape(shape))
    }
    return TensorType(dtype, input.shape)
  }

  fileprivate func normal(_ draws: inout Draws) throws -> Double {
    try float("mean", default: 0) + float("scale", default: 1) * draws.standardNormal()
  }

  fileprivate func uniform(_ draws: inout Draws) throws -> Double {
    let (low, high) = (try float("low", default: 0), try float("high", default: 1))
    return low + (high - low) * draws.unit()
  }

  /// The key of the node's numbers: its seed, or a hash (FNV-1a) of its name.
  fileprivate func randomKey() throws -> (UInt32, UInt32) {
    if attributes["seed"] != nil {
      return (Float(try float("seed", default: 0)).bitPattern, 0)
    }
    let hash = name.utf8.reduce(0xCBF2_9CE4_8422_2325 as UInt64) {
      ($0 ^ UInt64($1)) &* 0x100_0000_01B3
    }
    return (UInt32(truncatingIfNeeded: hash), UInt32(hash >> 32) | 1)
  }
}

extension FunctionBuilder {
  /// Numbers of a type, each as `draw` says; the same for every image where the first axis is the batch.
  fileprivate mutating func drawn(
    _ type: TensorType, _ draw: (ONNXNode, inout Draws) throws -> Double
  ) throws -> Term {
    if node.freedBatch != nil, type.shape.dependsOnBatch {
      throw GraftError(
        .unsupported, "every image of a batch of any size would have the same numbers")
    }
    var shape = type.shape
    if shape.rank >= 1, shape[0].isBatch { shape[0] = 1 }
    guard let extents = shape.constants,
      saturatingProduct(extents) <= ONNXFunction.largestConstant
    else { throw GraftError(.unsupported, "random numbers of \(type)") }
    var draws = Draws(key: try node.randomKey())
    let elements = try (0..<saturatingProduct(extents)).map { _ in try draw(node, &draws) }
    let numbers = constant(try TensorData(packing: elements, as: type.dtype, shape: extents))
    return shape == type.shape
      ? try apply(Identity(), numbers) : try apply(Expand(shape: type.shape), numbers)
  }
}
