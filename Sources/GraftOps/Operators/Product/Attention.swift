// Attention as one operator, so that its kernel need not keep the matrix of scores. Passes make it from products
// and a softmax (FuseAttention); ONNX's own Attention is read as those.

import GraftDiagnostics
import GraftIR
import RealModule

/// y = softmax(scale · q · kᵀ + bias + mask) · v for each of the leading axes (Vaswani et al. 2017, equation 1),
/// the softmax over the keys.
///
/// Operands: q […, queries, size]; k […, keys, size]; v […, keys, width], with the same leading axes; bias and mask
/// […, keys, queries], the keys first, which broadcast along the leading axes. With ``views``, q, k and v are
/// instead tensors of any shape that they are read from. Results: y […, queries, width], its axes in the order of
/// the views; logsum […, queries], ln Σ exp(scores), which the gradient reads.
///
/// - C1: all operands have one floating-point type.
/// - C2: queries, keys, size and width are constants, not 0 and less than 2^31, and the leading axes of q, k and v
///   are the same.
/// - C3: bias and mask broadcast to […, keys, queries]; their last two axes are whole.
/// - C4: scale is finite.
/// - C5: a view has a stride for each leading axis, and stays within its operand; order permutes the axes of y and
///   leaves the last one last.
public struct Attention: RealOperator {
  public static let opcode: Opcode = "attention"
  public static let group = OperatorGroup.matrix
  public static let summary = "softmax of the products of queries and keys, times the values"
  public static let operands: [OperandRule] = [
    .required("q"), .required("k"), .required("v"), .optional("bias"), .optional("mask"),
  ]
  public static let resultNames = ["y", "logsum"]

  public var scale: Double
  /// Where q, k and v are read, and the order of y's axes; nil if they are as above.
  public var views: AttentionViews?

  public init(scale: Double, views: AttentionViews? = nil) {
    self.scale = scale
    self.views = views
  }

  public init(attributes: Attributes) throws {
    scale = try attributes.float("scale")
    views = try AttentionViews(attributes: attributes)
  }

  public var attributes: Attributes {
    var attributes: Attributes = ["scale": .float(scale)]
    views?.write(to: &attributes)
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let extents = try AttentionExtents(operands, views)
    let q = try operand(0, of: operands)
    try requireReal("C1", q)
    for index in 1..<5 {
      guard let type = optionalOperand(index, of: operands) else { continue }
      try require(
        "C1", type.dtype == q.dtype,
        "\(Self.operands[index].name) must be \(q.dtype.rawValue), found \(type)")
      guard index >= 3 else { continue }
      let scores = extents.leading + [Dimension(extents.keys), Dimension(extents.queries)]
      let result = try broadcast([type.shape, TensorShape(scores)], label: "C3")
      try require(
        "C3",
        result.dimensions == scores && type.rank >= 2
          && type.shape.dimensions.suffix(2) == scores.suffix(2),
        "\(Self.operands[index].name) must broadcast to \(TensorShape(scores)), found \(type)")
    }
    try require("C4", scale.isFinite, "scale must be finite, found \(scale)")
    let y = extents.leading + [Dimension(extents.queries), Dimension(extents.width)]
    let order = views?.order ?? Array(y.indices)
    try require(
      "C5", order.sorted() == Array(y.indices) && order.last == y.count - 1,
      "\(order) does not permute the axes of \(TensorShape(y)) with the last one last")
    return [
      TensorType(q.dtype, TensorShape(order.map { y[$0] })),
      TensorType(q.dtype, TensorShape(extents.leading + [Dimension(extents.queries)])),
    ]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents results: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let leading = Array(results[1].dropLast())
    let (queries, width) = (results[1].last ?? 0, results[0].last ?? 0)
    let tensors = try (0..<3).map { try tensor($0, of: operands) }
    let size = views?.size ?? tensors[0].shape.last ?? 0
    let keys = views?.keys ?? tensors[1].shape.dropLast().last ?? 0
    let rows = try [queries, keys, keys].enumerated().map { index, count in
      try matrices(
        index, of: tensors[index], leading: leading, rows: count,
        columns: index == 2 ? width : size)
    }
    let added = try Self.addends(
      (3..<5).compactMap { optionalTensor($0, of: operands) }, to: leading + [keys, queries])
    var (y, sums) = ([Scalar](), [Scalar]())
    for matrix in 0..<leading.reduce(1, *) {
      let (q, k, v) = (rows[0][matrix], rows[1][matrix], rows[2][matrix])
      for query in 0..<queries {
        let scores = (0..<keys).map { key -> Scalar in
          let dot = (0..<size).reduce(Scalar(0)) {
            $0 + q[query * size + $1] * k[key * size + $1]
          }
          return added.reduce(dot * Scalar(scale)) {
            $0 + $1[(matrix * keys + key) * queries + query]
          }
        }
        let largest = scores.max() ?? 0
        let sum = scores.reduce(Scalar(0)) { $0 + .exp($1 - largest) }
        sums.append(largest + .log(sum))
        let weights = scores.map { Scalar.exp($0 - largest) / sum }
        for column in 0..<width {
          y.append((0..<keys).reduce(Scalar(0)) { $0 + weights[$1] * v[$1 * width + column] })
        }
      }
    }
    let natural = leading + [queries, width]
    let order = views?.order ?? Array(natural.indices)
    let strides = try DenseTensor(shape: natural, elements: y).strides
    return [
      try DenseTensor(
        shape: results[0],
        elements: try strided(y, offset: 0, strides: order.map { strides[$0] }, extents: results[0])
      ),
      try DenseTensor(shape: results[1], elements: sums),
    ]
  }

  /// Bias and mask, as far as they are there, as large as the scores.
  static func addends<Scalar>(
    _ addends: [DenseTensor<Scalar>], to scores: [Int]
  ) throws -> [[Scalar]] {
    try addends.map { addend in
      try strided(
        addend.elements, offset: 0, strides: broadcastStrides(of: addend.shape, to: scores),
        extents: scores)
    }
  }

  /// Row-major matrices of operand `index`, one for each index of the leading axes.
  private func matrices<Scalar>(
    _ index: Int, of tensor: DenseTensor<Scalar>, leading: [Int], rows: Int, columns: Int
  ) throws -> [[Scalar]] {
    let count = rows * columns
    var elements = tensor.elements
    if let views {
      let view = views.views[index]
      elements = try strided(
        elements, offset: view.offset, strides: try view.strides(leading, of: views) + [1],
        extents: leading + [rows, columns])
    }
    return (0..<leading.reduce(1, *)).map { Array(elements[($0 * count)..<(($0 + 1) * count)]) }
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    guard let extents = try? AttentionExtents(operands, views) else {
      return OperatorCost(multiplyAdds: 0)
    }
    return OperatorCost(
      multiplyAdds: saturatingProduct([
        elementCount(results.last), extents.keys, extents.size + extents.width,
      ]))
  }
}

/// Where one operand is read: element (i…, row, column) at offset + Σ i · stride + row · the last stride + column.
public struct AttentionView: Hashable, Sendable {
  public var offset: Int
  /// Elements from one index to the next of each leading axis, then from row to row.
  public var strides: [Dimension]

  public init(offset: Int, strides: [Dimension]) {
    self.offset = offset
    self.strides = strides
  }

  /// The strides where the leading axes have these extents.
  func strides(_ extents: [Int], of views: AttentionViews) throws -> [Int] {
    let batch = zip(views.leading, extents).first { $0.0.isBatch && $0.0 != 0 }
      .map { $0.1 / max(1, $0.0.coefficient) }
    return try strides.map { stride in
      guard let length = stride.extent(batch: batch ?? 0) else {
        throw GraftError(.invalidGraph, "the stride \(stride) is too long [C5]")
      }
      return length
    }
  }
}

/// The extents and views of an attention whose operands are not in its own order.
public struct AttentionViews: Hashable, Sendable {
  public var leading: [Dimension]
  public var queries: Int
  public var keys: Int
  public var size: Int
  public var width: Int
  /// The views of q, k and v.
  public var views: [AttentionView]
  /// Axis i of y is axis order[i] of […, queries, width].
  public var order: [Int]

  public init(
    leading: [Dimension], queries: Int, keys: Int, size: Int, width: Int, views: [AttentionView],
    order: [Int]
  ) {
    self.leading = leading
    self.queries = queries
    self.keys = keys
    self.size = size
    self.width = width
    self.views = views
    self.order = order
  }

  private static let names = ["q_view", "k_view", "v_view"]

  /// - Returns: nil if the attributes have no views.
  init?(attributes: Attributes) throws {
    guard attributes["leading"] != nil else { return nil }
    leading = try attributes.shape("leading").dimensions
    let counts = try attributes.ints("extents")
    guard counts.count == 4 else {
      throw GraftError(.invalidGraph, "extents must be queries, keys, size and width")
    }
    (queries, keys, size, width) = (counts[0], counts[1], counts[2], counts[3])
    views = try Self.names.map { name in
      let numbers = try attributes.shape(name).dimensions
      guard let offset = numbers.first?.constant else {
        throw GraftError(.invalidGraph, "\(name) must begin with an offset")
      }
      return AttentionView(offset: offset, strides: Array(numbers.dropFirst()))
    }
    order = try attributes.ints("order")
  }

  func write(to attributes: inout Attributes) {
    attributes["leading"] = .shape(TensorShape(leading))
    attributes["extents"] = .ints([queries, keys, size, width])
    for (name, view) in zip(Self.names, views) {
      attributes[name] = .shape(TensorShape([Dimension(view.offset)] + view.strides))
    }
    attributes["order"] = .ints(order)
  }

  /// Throws unless view `index` stays within its operand, whatever the batch.
  func check(_ index: Int, of operand: TensorType) throws {
    let view = views[index]
    let rows = index == 0 ? queries : keys
    let extents = leading + [Dimension(rows)]
    try require(
      "C5", view.strides.count == extents.count,
      "\(view.strides.count) strides for \(extents.count) axes of \(Attention.operands[index].name)"
    )
    try require(
      "C5",
      !view.strides.contains(where: \.isBatch) || leading.contains(where: \.isBatch),
      "strides grow with the batch, and no axis does")
    // The last index grows at most in proportion to the batch, so two batches show whether it stays within.
    for batch in [1, 1 << 16] {
      var last = view.offset
      var fits = view.offset >= 0
      for (extent, stride) in zip(
        extents + [Dimension(index == 2 ? width : size)], view.strides + [1])
      {
        guard let count = extent.extent(batch: batch), let step = stride.extent(batch: batch),
          step >= 0
        else { throw GraftError(.invalidGraph, "the stride \(stride) is too long [C5]") }
        let (reach, overflow) = step.multipliedReportingOverflow(by: count > 0 ? count - 1 : 0)
        let (sum, carry) = last.addingReportingOverflow(reach)
        fits = fits && !overflow && !carry
        last = sum
      }
      let count = operand.shape.elementCount?.extent(batch: batch) ?? 0
      try require(
        "C5", fits && last < count,
        "the view of \(Attention.operands[index].name) leaves \(operand)")
    }
  }
}

/// What an attention computes with, from its operands' shapes or its views.
public struct AttentionExtents: Hashable, Sendable {
  public let leading: [Dimension]
  public let queries: Int
  public let keys: Int
  public let size: Int
  public let width: Int

  /// - Throws: ``GraftError`` if C2 or, for views, C5 of ``Attention`` does not hold.
  public init(_ operands: [TensorType?], _ views: AttentionViews?) throws {
    let types = try (0..<3).map { try operand($0, of: operands) }
    if let views {
      (leading, queries, keys) = (views.leading, views.queries, views.keys)
      (size, width) = (views.size, views.width)
    } else {
      let axes = types.map { Array($0.shape.dimensions.suffix(2)) }
      let leadings = types.map { Array($0.shape.dimensions.dropLast(2)) }
      let found = "found " + types.map(\.description).joined(separator: ", ")
      try require(
        "C2", types.allSatisfy { $0.rank >= 2 } && leadings.allSatisfy { $0 == leadings[0] },
        "q, k and v must have the same leading axes, \(found)")
      guard let queries = axes[0][0].constant, let size = axes[0][1].constant,
        let keys = axes[1][0].constant, let width = axes[2][1].constant
      else {
        throw GraftError(
          .invalidGraph, "queries, keys, size and width must be constants, \(found) [C2]")
      }
      try require(
        "C2", axes[1] == [Dimension(keys), Dimension(size)] && axes[2][0] == Dimension(keys),
        "k and v must have a row for each key, and k one size with q, \(found)")
      (leading, self.queries, self.keys) = (leadings[0], queries, keys)
      (self.size, self.width) = (size, width)
    }
    try require(
      "C2", [queries, keys, size, width].allSatisfy { (1...Int(Int32.max)).contains($0) },
      "\(queries) queries, \(keys) keys, size \(size) and width \(width) must not be 0")
    for index in 0..<3 { try views?.check(index, of: types[index]) }
  }
}
