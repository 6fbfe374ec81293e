// Weights and biases as a file stores them, in the form that sums of products on bytes read.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The constants of a sum of products on bytes, as the file states them.
struct StatedWeights {
  /// In the order [outputs, …], less their zero point.
  var elements: [Int]
  var shape: [Int]
  /// In units of the products, for each output.
  var bias: [Int]
  /// The real number that 1 in a sum stands for, for each output: x's scale · the weights'.
  var steps: [Float]
  /// Whether x stands twice along axis 1, since weights less their zero point need 9 bits: their halves are elements.
  var isDoubled = false

  /// The largest magnitude of a bias that is not stored as an integer.
  private static let largestBias = Double(1 << 30)
  /// How far the scale of a stored bias may be from that of the products, relative to it, to be the same.
  private static let tolerance: Float = 1e-5

  /// - Parameters:
  ///   - scale: that of x.
  ///   - channels: the extent of x's axis 1.
  /// - Returns: the constants, or why kernels cannot take them.
  static func read(
    _ weights: ValueID, bias: ValueID?, of sum: any QuantizableSum, scale: Float,
    channels: Dimension, _ graph: Graph
  ) throws -> Result<StatedWeights, GraftError> {
    func left(_ why: String) -> Result<StatedWeights, GraftError> {
      .failure(GraftError(.unsupported, why))
    }
    guard let stored = try graph.storage(of: weights), [.int8, .uint8].contains(stored.dtype) else {
      return left("its weights are not stored in 8 bits")
    }
    let axis = sum.outputsAxis
    guard stored.shape.indices.contains(axis), stored.shape[axis] > 0,
      stored.scales.count == 1 && stored.zeros.count == 1 || stored.axis == axis
    else { return left("the scales of its weights are not those of its outputs") }
    let outputs = stored.shape[axis]
    guard [1, outputs].contains(stored.scales.count), [1, outputs].contains(stored.zeros.count),
      stored.scales.allSatisfy({ $0.isNormal && $0 > 0 })
    else { return left("a scale of its weights is not positive") }
    let inner = stored.shape[(axis + 1)...].reduce(1, *)
    let elements = stored.elements.enumerated().map { place, element in
      element - stored.zeros[stored.zeros.count == 1 ? 0 : place / inner % outputs]
    }
    let rows = sum.outputsFirst(
      try DenseTensor(shape: stored.shape, elements: elements.map(Float.init)))
    let steps = (0..<outputs).map { scale * stored.scales[stored.scales.count == 1 ? 0 : $0] }
    guard steps.allSatisfy({ $0.isNormal }) else { return left("its scales are too far apart") }
    guard let bias = try read(bias: bias, steps, graph) else {
      return left("its bias is computed or out of range")
    }
    var result = StatedWeights(
      elements: rows.elements.map { Int($0) }, shape: rows.shape, bias: bias, steps: steps)
    if !result.elements.allSatisfy({ (-128...127).contains($0) }) {
      guard channels == Dimension(rows.shape[1]), result.double() else {
        return left("its weights less their zero point need 9 bits")
      }
    }
    return result.isInRange ? .success(result) : left("its sums are out of range")
  }

  /// Parts the weights into what fits in 8 bits and the rest, which come one after the other along axis 1.
  /// - Returns: whether both fit.
  private mutating func double() -> Bool {
    let least = elements.map { max(-128, min(127, $0)) }
    let rest = zip(elements, least).map { $0 - $1 }
    guard rest.allSatisfy({ (-128...127).contains($0) }) else { return false }
    let depth = elements.count / max(1, shape[0])
    elements = (0..<shape[0]).flatMap { output in
      let row = output * depth..<(output + 1) * depth
      return least[row] + rest[row]
    }
    shape[1] *= 2
    isDoubled = true
    return true
  }

  /// Whether no sum leaves int32.
  private var isInRange: Bool {
    let depth = Double(elements.count / max(1, bias.count))
    return depth * 128 * 255 + (bias.map { abs(Double($0)) }.max() ?? 0) < Double(Int32.max)
  }

  /// Takes in what scales and shifts every output.
  /// - Returns: whether that is possible; if not, nothing changed.
  mutating func take(_ affine: ChannelAffine) -> Bool {
    guard affine.scale.count == steps.count, affine.shift.count == steps.count else { return false }
    var result = self
    let depth = elements.count / max(1, steps.count)
    for output in steps.indices {
      if affine.scale[output] < 0 {
        // Scales stay positive.
        let row = output * depth..<(output + 1) * depth
        guard !elements[row].contains(-128) else { return false }
        for place in row { result.elements[place].negate() }
        result.bias[output].negate()
      }
      let step = Float(Double(steps[output]) * abs(affine.scale[output]))
      let added = (affine.shift[output] / Double(step)).rounded(.toNearestOrEven)
      guard step.isNormal, abs(added) <= Self.largestBias else { return false }
      result.steps[output] = step
      result.bias[output] += Int(added)
    }
    guard result.isInRange else { return false }
    self = result
    return true
  }

  /// The bias in units of `steps`; nil where it is not known.
  private static func read(bias: ValueID?, _ steps: [Float], _ graph: Graph) throws -> [Int]? {
    guard let bias else { return Array(repeating: 0, count: steps.count) }
    var reals: [Double]
    if let stored = try graph.storage(of: bias) {
      guard stored.elements.count == steps.count, [1, steps.count].contains(stored.scales.count),
        [1, steps.count].contains(stored.zeros.count)
      else { return nil }
      func scale(_ place: Int) -> Float { stored.scales[stored.scales.count == 1 ? 0 : place] }
      let whole = stored.elements.enumerated().map { place, element in
        element - stored.zeros[stored.zeros.count == 1 ? 0 : place]
      }
      let isInSteps = steps.enumerated().allSatisfy { place, step in
        abs(scale(place) - step) <= tolerance * step
      }
      if isInSteps { return whole }
      reals = whole.enumerated().map { Double($1) * Double(scale($0)) }
    } else if let data = graph[bias].parameter?.data, data.dtype.isFloatingPoint,
      data.elementCount == steps.count
    {
      reals = data.floats().map(Double.init)
    } else {
      return nil
    }
    for (place, step) in steps.enumerated() {
      reals[place] = (reals[place] / Double(step)).rounded(.toNearestOrEven)
    }
    // Also false for NaN.
    guard reals.allSatisfy({ abs($0) <= largestBias }) else { return nil }
    return reals.map { Int($0) }
  }
}

extension Graph {
  /// How the constant `value` is stored; nil where nothing says it.
  func storage(of value: ValueID) throws -> StoredNumbers? {
    guard let node = producer(of: value),
      let operation = try Catalog.operation(of: node) as? any StorageOperator
    else { return nil }
    return operation.stored(node.operands.map { $0.flatMap { self[$0].parameter?.data } })
  }
}
