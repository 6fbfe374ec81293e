// Loops over plain, row-major values with a stride for each operand: broadcasting, slices, transposes.
// Neighboring axes that every operand walks alike become one, so that most loops are one long run.
// The free batch may be one of the axes, wherever it stands; extents and strides that depend on it are C
// expressions in n, which a kernel then takes as a parameter (BatchParameter).

import GraftDiagnostics
import GraftIR

/// A nest of loops, outermost first, over `extents`; `strides[operand][axis]` in elements.
struct StridedLoop: Hashable {
  private(set) var extents: [Dimension]
  private(set) var strides: [[Dimension]]

  /// - Throws: ``GraftError`` of kind `unsupported` if two axes grow with the batch.
  init(extents: [Dimension], strides: [[Dimension]]) throws {
    let kept = extents.indices.filter { extents[$0] != 1 }
    var outExtents: [Dimension] = []
    var outStrides: [[Dimension]] = strides.map { _ in [] }
    for axis in kept {
      if let last = outExtents.indices.last,
        strides.indices.allSatisfy({
          outStrides[$0][last] == strides[$0][axis].multiplied(by: extents[axis])
        }),
        let product = outExtents[last].multiplied(by: extents[axis])
      {
        outExtents[last] = product
        for operand in strides.indices { outStrides[operand][last] = strides[operand][axis] }
      } else {
        outExtents.append(extents[axis])
        for operand in strides.indices { outStrides[operand].append(strides[operand][axis]) }
      }
    }
    guard outExtents.count(where: \.isBatch) <= 1 else {
      throw GraftError(
        .unsupported, "kernels support one axis with the dynamic batch, found \(extents)")
    }
    self.extents = outExtents
    self.strides = outStrides
  }

  /// Whether the innermost loop runs over the batch. Where there is no other loop, units of work do.
  private var runsOverBatch: Bool { extents.count > 1 && extents.last?.isBatch == true }

  /// Whether the innermost axis is a separate loop inside a unit of work.
  private var hasInnerLoop: Bool {
    extents.last.map { !$0.isBatch || runsOverBatch } ?? false
  }

  /// Extent of the innermost loop; 1 where there is no loop at all.
  var innerExtent: Dimension { hasInnerLoop ? extents.last ?? 1 : 1 }

  /// C that defines COUNT as the extent of the innermost loop.
  var innerCount: String {
    innerExtent.isBatch
      ? "const size_t COUNT = \(innerExtent.count);" : "enum { COUNT = \(innerExtent) };"
  }

  func innerStride(_ operand: Int) -> Dimension {
    hasInnerLoop ? strides[operand].last ?? 0 : 0
  }

  /// All loops but the innermost.
  private var outerAxes: Range<Int> {
    0..<(hasInnerLoop ? extents.count - 1 : extents.count)
  }

  /// How often the innermost loop runs.
  var rows: WorkUnits {
    var count = 1
    var batch = Dimension(1)
    for axis in outerAxes {
      if extents[axis].isBatch { batch = extents[axis] } else { count *= extents[axis].coefficient }
    }
    return WorkUnits(count, times: batch)
  }

  /// The C expression of an operand's offset for the run number `row`.
  func offset(_ operand: Int, row: String = "row") -> String {
    var terms: [String] = []
    var suffix = Dimension(1)
    for axis in outerAxes.reversed() {
      let stride = strides[operand][axis]
      let quotient = suffix == 1 ? row : "\(row) / \(suffix.factor)"
      let index = axis == 0 ? quotient : "\(quotient) % \(extents[axis].factor)"
      if stride != 0 {
        terms.append(stride == 1 ? index : "(ptrdiff)(\(index)) * \(stride.step)")
      }
      suffix = suffix.multiplied(by: extents[axis]) ?? suffix
    }
    return terms.isEmpty ? "0" : terms.reversed().joined(separator: " + ")
  }
}

extension Dimension {
  /// The C expression of an extent inside a kernel, n being the batch.
  var count: String { isBatch ? (coefficient == 1 ? "n" : "\(coefficient) * n") : "\(coefficient)" }

  /// The same as a factor of a product or quotient.
  var factor: String { isBatch && coefficient != 1 ? "(\(count))" : count }

  /// The C expression of a stride, which may be negative, as a factor.
  var step: String {
    guard isBatch else { return "\(coefficient)" }
    return coefficient == 1 ? "(ptrdiff)n" : "(\(coefficient) * (ptrdiff)n)"
  }

  /// `self · factor`.
  /// - Throws: ``GraftError`` of kind `unsupported` for N · N, and on overflow.
  func times(_ factor: Dimension) throws -> Dimension {
    guard let product = multiplied(by: factor) else {
      throw GraftError(.unsupported, "kernels do not support strides of \(self) times \(factor)")
    }
    return product
  }
}

/// The batch as a kernel's parameter, where its text reads it.
struct BatchParameter {
  /// What comes before the range of units in the kernel's head.
  let declaration: String
  /// What comes behind the other arguments of a call.
  let arguments: [String]

  /// - Parameter texts: pieces of C in which the word n is the batch.
  init(readBy texts: [String]) {
    let isRead = texts.contains { text in
      text.split(whereSeparator: { !$0.isLetter && !$0.isNumber && $0 != "_" }).contains("n")
    }
    declaration = isRead ? "size_t n, " : ""
    arguments = isRead ? [Dimension.batch.expression] : []
  }
}

extension TensorShape {
  /// Elements between neighbors along each axis in plain row-major order.
  /// - Throws: ``GraftError`` of kind `unsupported` if they grow with the square of the batch.
  func plainStrides() throws -> [Dimension] {
    var strides = Array(repeating: Dimension(1), count: rank)
    for axis in dimensions.indices.dropLast().reversed() {
      strides[axis] = try strides[axis + 1].times(dimensions[axis + 1])
    }
    return strides
  }

  /// ``plainStrides()`` seen from a shape that it broadcasts to: 0 along axes that repeat.
  func broadcastStrides(to result: TensorShape) throws -> [Dimension] {
    let own = try plainStrides()
    let missing = result.rank - rank
    guard missing >= 0 else {
      throw GraftError(.inconsistency, "\(self) does not broadcast to \(result)")
    }
    return result.dimensions.indices.map { axis in
      axis < missing || dimensions[axis - missing] == 1 ? 0 : own[axis - missing]
    }
  }
}

extension StridedLoop {
  /// The same loop with an innermost run of more than `longest` elements broken into equal rows, so
  /// that threads can share it.
  func split(longest: Int) -> StridedLoop {
    guard let last = extents.last, !runsOverBatch else { return self }
    let extent = last.coefficient
    let length = (1...longest).last { extent.isMultiple(of: $0) } ?? 1
    guard extent > longest || last.isBatch, length > 1 else { return self }
    var copy = self
    let outer = last.isBatch ? Dimension.batch(times: extent / length) : Dimension(extent / length)
    copy.extents[extents.count - 1] = outer
    copy.extents.append(Dimension(length))
    for operand in strides.indices {
      let step = strides[operand][extents.count - 1]
      guard let longStep = step.multiplied(by: Dimension(length)) else { return self }
      copy.strides[operand][extents.count - 1] = longStep
      copy.strides[operand].append(step)
    }
    return copy
  }
}
