// Sums of products by an equation. ONNX Einsum, opset 12; https://onnx.ai/onnx/operators/onnx__Einsum.html

import GraftDiagnostics
import GraftIR

extension ONNXFunction {
  /// Products of two operands at a time, left to right, each as a batched product of matrices: of the labels that only
  /// one of them has, those that are in neither the result nor another operand are summed first.
  static let einsum = ONNXFunction("Einsum", since: 12) { f in
    let equation = try f.node.string("equation", default: "").filter { $0 != " " }
    let sides = equation.components(separatedBy: "->")
    let terms = try f.node.inputs.indices.map { try f.input($0) }
    let texts = sides[0].split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    guard (1...2).contains(sides.count), texts.count == terms.count, !terms.isEmpty else {
      throw GraftError(
        .invalidModel, "the equation \(equation.quotedForDisplay) has not one part for each input")
    }
    guard terms.allSatisfy({ $0.type.dtype == terms[0].type.dtype }) else {
      throw GraftError(.invalidModel, "the inputs have different element types")
    }
    let ellipsis =
      zip(texts, terms).map { text, term in
        text.contains("...") ? term.rank - (text.count - 3) : 0
      }.max() ?? 0
    guard (0...8).contains(ellipsis) else {
      throw GraftError(.invalidModel, "the equation \(equation.quotedForDisplay) does not fit")
    }
    var operands = try zip(texts, terms).map { text, term in
      try f.labeled(term, EinsumLabels.labels(text, rank: term.rank, ellipsis: ellipsis))
    }
    let result: [Character]
    if sides.count == 2 {
      result = EinsumLabels.labels(sides[1], rank: nil, ellipsis: ellipsis)
    } else {
      // What occurs once, in the order of the alphabet, behind the ellipsis.
      let all = operands.flatMap(\.labels)
      let single = Set(all).filter { label in
        !EinsumLabels.isEllipsis(label) && texts.joined().count { $0 == label } == 1
      }
      result = EinsumLabels.ellipsis(ellipsis) + single.sorted()
    }
    guard Set(result).count == result.count,
      result.allSatisfy({ label in operands.contains { $0.labels.contains(label) } })
    else {
      throw GraftError(
        .invalidModel, "the equation \(equation.quotedForDisplay) has no such result")
    }
    var product = operands.removeFirst()
    while !operands.isEmpty {
      let next = operands.removeFirst()
      let needed = Set(result + operands.flatMap(\.labels))
      product = try f.product(product, next, keeping: needed)
    }
    product = try f.summed(product, keeping: Set(result))
    let order = result.compactMap { product.labels.firstIndex(of: $0) }
    return [try f.transpose(product.term, by: order)]
  }
}

private enum EinsumLabels {
  /// Labels of the axes that an ellipsis stands for, which no equation can have.
  static func ellipsis(_ count: Int) -> [Character] { (0..<count).map { Character("\($0)") } }
  static func isEllipsis(_ label: Character) -> Bool { label.isNumber }

  /// - Parameter rank: of the operand, whose ellipsis may be shorter than the longest; nil for the result.
  static func labels(_ text: String, rank: Int?, ellipsis count: Int) -> [Character] {
    let parts = text.components(separatedBy: "...")
    guard parts.count == 2 else { return Array(text) }
    let own = rank.map { $0 - (text.count - 3) } ?? count
    return Array(parts[0]) + ellipsis(count).suffix(max(0, own)) + Array(parts[1])
  }
}

/// A value with a label for each axis, none of them twice.
private struct LabeledTerm {
  var term: FunctionBuilder.Term
  var labels: [Character]

  func extent(_ label: Character) -> Dimension {
    labels.firstIndex(of: label).map { term.shape[$0] } ?? 1
  }
}

extension FunctionBuilder {
  /// The value with the diagonal of axes that have one label.
  fileprivate mutating func labeled(_ x: Term, _ labels: [Character]) throws -> LabeledTerm {
    guard labels.count == x.rank else {
      throw GraftError(.invalidModel, "\(labels.count) labels for \(x.type)")
    }
    var result = LabeledTerm(term: x, labels: labels)
    while let second = result.labels.indices.first(where: {
      result.labels[..<$0].contains(result.labels[$0])
    }), let first = result.labels.firstIndex(of: result.labels[second]) {
      guard let extent = result.term.shape[first].constant, extent > 0,
        result.term.shape[second] == Dimension(extent)
      else { throw GraftError(.unsupported, "a diagonal of \(result.term.type)") }
      // Every n + 1st element of the axes, put together at the end.
      var order = Array(result.labels.indices)
      order.removeAll { $0 == first || $0 == second }
      let others = order.map { result.term.shape[$0] }
      let turned = try transpose(result.term, by: order + [first, second])
      let (area, overflow) = extent.multipliedReportingOverflow(by: extent)
      guard !overflow else { throw GraftError(.unsupported, "a diagonal of \(x.type)") }
      let flat = try reshape(turned, to: TensorShape(others + [Dimension(area)]))
      // A step is at most the extent of its axis, which is 1 for a matrix of one element.
      let step = min(extent + 1, area)
      let diagonal = try apply(
        Slice(axes: [order.count], starts: [0], extents: [extent], steps: [step]), flat)
      result = LabeledTerm(
        term: diagonal, labels: order.map { result.labels[$0] } + [result.labels[first]])
    }
    return result
  }

  /// The sum over the axes whose labels are not in `kept`.
  fileprivate mutating func summed(
    _ x: LabeledTerm, keeping kept: Set<Character>
  ) throws -> LabeledTerm {
    let axes = x.labels.indices.filter { !kept.contains(x.labels[$0]) }
    guard !axes.isEmpty else { return x }
    for axis in axes where x.term.shape[axis].isBatch {
      throw GraftError(.unsupported, "it sums over axis \(axis), the batch")
    }
    let isReal = x.term.type.dtype.isFloatingPoint
    let sum: any Operator =
      isReal ? ReduceSum(axes: axes) : Reduction(.sum, axes: axes, keepsAxes: false)
    return LabeledTerm(
      term: try apply(sum, x.term), labels: x.labels.filter { kept.contains($0) })
  }

  /// The product of two values, summed over the labels that both have and that are not in `needed`.
  fileprivate mutating func product(
    _ left: LabeledTerm, _ right: LabeledTerm, keeping needed: Set<Character>
  ) throws -> LabeledTerm {
    let a = try summed(left, keeping: needed.union(right.labels))
    let b = try summed(right, keeping: needed.union(left.labels))
    let shared = a.labels.filter(b.labels.contains)
    let batch = shared.filter(needed.contains)
    let inner = shared.filter { !needed.contains($0) }
    let rows = a.labels.filter { !shared.contains($0) }
    let columns = b.labels.filter { !shared.contains($0) }
    func count(_ labels: [Character], _ x: LabeledTerm) throws -> Dimension {
      guard let product = TensorShape(labels.map(x.extent)).elementCount else {
        throw GraftError(.unsupported, "a product of \(a.term.type) and \(b.term.type)")
      }
      return product
    }
    func arranged(_ x: LabeledTerm, _ groups: [[Character]]) throws -> Term {
      let order = groups.joined().compactMap { x.labels.firstIndex(of: $0) }
      let turned = try transpose(x.term, by: order)
      return try reshape(
        turned,
        to: TensorShape(batch.map(x.extent) + [try count(groups[1], x), try count(groups[2], x)]))
    }
    let matrix = try apply(
      MatrixMultiply(), try arranged(a, [batch, rows, inner]),
      try arranged(b, [batch, inner, columns]))
    // An extent of 1 repeats beside a larger one.
    let extents = batch.map { a.extent($0) == 1 ? b.extent($0) : a.extent($0) }
    return LabeledTerm(
      term: try reshape(
        matrix, to: TensorShape(extents + rows.map(a.extent) + columns.map(b.extent))),
      labels: batch + rows + columns)
  }
}
