// The shape of an input in `--input-shape`: `Nx3x224x224`; and the sets of shapes that several of these form.

import GraftDiagnostics
import GraftIR

/// A shape written as extents joined by `x`, where N is the dynamic batch size.
public struct InputShape: Hashable, Sendable {
  public var shape: TensorShape

  /// Nil if `text` is not such a shape.
  public init?(_ text: String) {
    var dimensions: [Dimension] = []
    for part in text.split(separator: "x", omittingEmptySubsequences: false) {
      if part == "N" {
        dimensions.append(.batch)
      } else if let extent = Int(part), extent > 0 {
        dimensions.append(Dimension(extent))
      } else {
        return nil
      }
    }
    guard !dimensions.isEmpty else { return nil }
    shape = TensorShape(dimensions)
  }
}

extension InputShape: CustomStringConvertible {
  /// `Nx3x224x224`
  public var description: String {
    shape.dimensions.map(\.description).joined(separator: "x")
  }
}

extension InputShape {
  /// The sets of shapes that the values of `--input-shape` stand for: the k-th shape of every input forms set k,
  /// and an input with one shape has it in every set.
  /// - Parameter choices: inputs with their shapes, in the order of the command line.
  /// - Returns: one set per program, empty without choices.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if inputs have different numbers of shapes, or two sets
  ///   are the same.
  public static func sets(
    of choices: [(input: String, shape: InputShape)]
  ) throws -> [[String: InputShape]] {
    guard !choices.isEmpty else { return [] }
    let shapes = Dictionary(grouping: choices, by: \.input).mapValues { $0.map(\.shape) }
    let several = choices.map(\.input).uniqued().filter { (shapes[$0]?.count ?? 0) > 1 }
    let count = several.first.flatMap { shapes[$0]?.count } ?? 1
    if let first = several.first, let other = several.first(where: { shapes[$0]?.count != count }) {
      throw GraftError(
        .invalidArgument,
        "--input-shape has \(count) shapes for \(first.quotedForDisplay) and "
          + "\(shapes[other]?.count ?? 0) for \(other.quotedForDisplay): give every input the same number of "
          + "shapes, or one for all programs")
    }
    let sets = (0..<count).map { index in
      shapes.mapValues { $0.count == 1 ? $0[0] : $0[index] }
    }
    for (index, set) in sets.enumerated() where sets[..<index].contains(set) {
      let text = choices.map(\.input).uniqued().map {
        "\($0.quotedForDisplay) \(set[$0]?.description ?? "")"
      }
      throw GraftError(
        .invalidArgument,
        "--input-shape has the same shape twice: \(text.joined(separator: " with "))")
    }
    return sets
  }
}
