// The matrices of Winograd's convolution, derived from the interpolation points, and their C code.
// WinogradSchedule decides blocking and products.

/// F(step, taps): `step` outputs of a correlation with `taps` weights from `step + taps - 1` products.
///
/// outputs = A · ((G · weights) ⊙ (B · inputs)), Winograd 1980, in the transposed Toom-Cook form of Lavin and
/// Gray 2015. Points are dyadic fractions, so that A and B are exact in float32; all rounding of constants
/// is in G, which weights go through in float64 at compile time.
struct WinogradTransform: Hashable {
  let step: Int
  let taps: Int
  /// The finite points; infinity is the last one.
  let points: [Double]

  /// F(2, 3), with no more rounding error than a direct sum.
  static let two = WinogradTransform(step: 2, taps: 3, points: [0, 1, -1])
  /// F(4, 3). With these points the error is half of that with 0, ±1 and ±2, and about twice that of a plain
  /// sum.
  static let four = WinogradTransform(step: 4, taps: 3, points: [0, 0.75, -0.75, 1.5, -1.5])

  /// F(2, 2), with no more rounding error than a direct sum.
  static let twoOfTwo = WinogradTransform(step: 2, taps: 2, points: [0, 1])
  /// F(3, 2), likewise.
  static let threeOfTwo = WinogradTransform(step: 3, taps: 2, points: [0, 1, -1])

  /// As in the literature, for images: `F(4x4, 3x3)`.
  var title: String { "F(\(step)x\(step), \(taps)x\(taps))" }

  /// Inputs of a line, and its products.
  var side: Int { points.count + 1 }

  /// B, [side][side]: row p has the coefficients of f(x) / (x - point p), the last those of f, where f is the
  /// product of all (x - point).
  var inputMatrix: [[Double]] {
    (points.indices.map { omitted in
      Self.product(of: points.indices.filter { $0 != omitted }.map { points[$0] })
    } + [Self.product(of: points)]).map { $0 + Array(repeating: 0, count: side - $0.count) }
  }

  /// G, [side][taps]: powers of a point over its distances from all others.
  var weightMatrix: [[Double]] {
    points.indices.map { index in
      let scale = points.indices.filter { $0 != index }
        .reduce(1) { $0 * (points[index] - points[$1]) }
      return Self.powers(of: points[index], count: taps).map { $0 / scale }
    } + [(0..<taps).map { $0 == taps - 1 ? 1 : 0 }]
  }

  /// A, [step][side]: powers of points, and infinity for the highest.
  var outputMatrix: [[Double]] {
    let columns = points.map { Self.powers(of: $0, count: step) }
    return (0..<step).map { row in columns.map { $0[row] } + [row == step - 1 ? 1 : 0] }
  }

  /// G · weights · Gᵀ of `taps` × `taps` weights, row by row.
  func transformed(_ weights: [Double]) -> [Double] {
    let matrix = weightMatrix
    var result = Array(repeating: 0.0, count: side * side)
    for row in 0..<side {
      let line = (0..<taps).map { column in
        (0..<taps).reduce(0) { $0 + matrix[row][$1] * weights[$1 * taps + column] }
      }
      for column in 0..<side {
        result[row * side + column] =
          (0..<taps).reduce(0) { $0 + line[$1] * matrix[column][$1] }
      }
    }
    return result
  }

  private static func powers(of point: Double, count: Int) -> [Double] {
    (1..<max(2, count)).reduce(into: [1]) { powers, _ in powers.append((powers.last ?? 1) * point) }
  }

  /// The coefficients of the product of (x - root), the constant first.
  private static func product(of roots: [Double]) -> [Double] {
    roots.reduce([1]) { polynomial, root in
      zip([0] + polynomial, polynomial + [0]).map { $0 - root * $1 }
    }
  }
}

extension WinogradTransform {
  /// C that computes `to[p]` = B · `from`.
  func inputStatements(from: String, to: String) -> String {
    pointStatements(inputMatrix, from: from, to: to)
  }

  /// C that computes `to[p]` = Aᵀ · `from`: the transpose of the output's transform, which its gradient
  /// goes through.
  func gradientStatements(from: String, to: String) -> String {
    pointStatements(Self.transpose(outputMatrix), from: from, to: to)
  }

  /// C that computes `to[i]` = A · `from`.
  func outputStatements(from: String, to: String) -> String {
    sumStatements(outputMatrix, from: from, to: to)
  }

  /// C that computes `to[tap]` = Gᵀ · `from`.
  func weightGradientStatements(from: String, to: String) -> String {
    sumStatements(Self.transpose(weightMatrix), from: from, to: to)
  }

  static func transpose(_ matrix: [[Double]]) -> [[Double]] {
    matrix[0].indices.map { column in matrix.map { $0[column] } }
  }

  /// C for a matrix with one row for each point. Rows of opposite points share their even and odd parts.
  private func pointStatements(_ matrix: [[Double]], from: String, to: String) -> String {
    var lines: [String] = []
    var done = Set<Int>()
    for row in 0..<side where !done.contains(row) {
      guard let opposite = opposite(of: row), opposite > row else {
        lines.append("\(to)[\(row)] = \(Self.sum(matrix[row], of: from));")
        continue
      }
      done.insert(opposite)
      let shared = zip(matrix[row], matrix[opposite]).map { $0 == $1 }
      let even = zip(matrix[row], shared).map { $1 ? $0 : 0 }
      let odd = zip(matrix[row], shared).map { $1 ? 0 : $0 }
      lines += [
        "const vf even\(row) = \(Self.sum(even, of: from));",
        "const vf odd\(row) = \(Self.sum(odd, of: from));",
        "\(to)[\(row)] = even\(row) + odd\(row);",
        "\(to)[\(opposite)] = even\(row) - odd\(row);",
      ]
    }
    return lines.joined(separator: "\n")
  }

  /// C for a matrix with one column for each point, whose elements are powers of it over a factor that
  /// opposite points share. What is at opposite points comes in as sums and differences.
  private func sumStatements(_ matrix: [[Double]], from: String, to: String) -> String {
    var lines: [String] = []
    var names = (0..<side).map { "\(from)[\($0)]" }
    var coefficients = matrix
    for column in 0..<side {
      guard let opposite = opposite(of: column), opposite > column else { continue }
      lines += [
        "const vf sum\(column) = \(names[column]) + \(names[opposite]);",
        "const vf difference\(column) = \(names[column]) - \(names[opposite]);",
      ]
      names[column] = "sum\(column)"
      names[opposite] = "difference\(column)"
      // Even powers of opposite points are equal, odd ones opposite.
      for row in matrix.indices {
        coefficients[row][column] = row % 2 == 0 ? matrix[row][column] : 0
        coefficients[row][opposite] = row % 2 == 0 ? 0 : matrix[row][column]
      }
    }
    for row in matrix.indices {
      lines.append("\(to)[\(row)] = \(Self.sum(coefficients[row], names: names));")
    }
    return lines.joined(separator: "\n")
  }

  /// The index of the point that is minus the one at `index`, which is neither 0 nor infinity.
  private func opposite(of index: Int) -> Int? {
    guard points.indices.contains(index), points[index] != 0 else { return nil }
    return points.firstIndex(of: -points[index])
  }

  private static func sum(_ coefficients: [Double], of array: String) -> String {
    sum(coefficients, names: coefficients.indices.map { "\(array)[\($0)]" })
  }

  /// Terms without a factor first: all others then fuse with the sum.
  private static func sum(_ coefficients: [Double], names: [String]) -> String {
    let terms = zip(coefficients, names).filter { $0.0 != 0 }
    let plain = terms.filter { abs($0.0) == 1 }.sorted { $0.0 > $1.0 }
    var text = ""
    for (factor, name) in plain + terms.filter({ abs($0.0) != 1 }) {
      let size = abs(factor) == 1 ? name : "\(CText.float(abs(factor))) * \(name)"
      if text.isEmpty {
        text = factor < 0 ? "-\(size)" : size
      } else {
        text += (factor < 0 ? " - " : " + ") + size
      }
    }
    return text
  }
}
