// Which program of a bundle takes inputs of given shapes.

import GraftDiagnostics
import GraftIR

/// The inputs of every program of a network.
struct ProgramChoice: Sendable {
  private let programs: [[Session.Port]]

  /// - Throws: ``GraftError`` of kind `invalidBundle` for an unknown element type.
  init(_ manifest: Manifest) throws {
    programs = try manifest.programs.map { try $0.inputs.map(Session.Port.init) }
  }

  /// The first program that takes inputs of these shapes, by name, and the batch size.
  /// - Throws: ``GraftError`` of kind `invalidArgument` that names an input that is missing or unknown, or whose
  ///   shape no program takes, with the shapes that there are.
  func program(forShapes shapes: [String: [Int]]) throws -> (index: Int, batch: Int) {
    let names = programs[0].map(\.name)
    for name in shapes.keys.sorted() where !names.contains(name) {
      throw GraftError(
        .invalidArgument,
        "there is no input \(name.quotedForDisplay); the inputs are "
          + names.map(\.quotedForDisplay).joined(separator: ", "))
    }
    if let name = names.first(where: { shapes[$0] == nil }) {
      throw GraftError(.invalidArgument, "input \(name.quotedForDisplay) was not given")
    }
    var misfits: [Misfit] = []
    for (index, ports) in programs.enumerated() {
      switch fit(shapes, ports) {
      case .success(let batch): return (index, batch)
      case .failure(let misfit): misfits.append(misfit)
      }
    }
    throw error(misfits, shapes)
  }

  /// The first input whose shape a program does not take, and the batch size of the inputs before it.
  private struct Misfit: Error {
    var input: Int
    var batch: Int?
  }

  /// The batch size, which the first shape with a batch determines.
  private func fit(
    _ shapes: [String: [Int]], _ ports: [Session.Port]
  ) -> Result<Int, Misfit> {
    var batch: Int?
    for (index, port) in ports.enumerated() {
      let (given, shape) = (shapes[port.name] ?? [], port.type.shape)
      let misfit = Misfit(input: index, batch: batch)
      guard given.count == shape.rank else { return .failure(misfit) }
      for (extent, dimension) in zip(given, shape.dimensions) where dimension.isBatch {
        guard extent > 0, extent.isMultiple(of: dimension.coefficient) else {
          return .failure(misfit)
        }
        batch = batch ?? extent / dimension.coefficient
      }
      guard (try? shape.extents(batch: batch ?? 1)) == given else {
        return .failure(Misfit(input: index, batch: batch))
      }
    }
    return .success(batch ?? 1)
  }

  /// The error for the program whose first inputs fit best.
  private func error(_ misfits: [Misfit], _ shapes: [String: [Int]]) -> GraftError {
    guard let nearest = misfits.max(by: { $0.input < $1.input }) else {
      return GraftError(.inconsistency, "the network has no program")
    }
    let name = programs[0][nearest.input].name
    var text =
      "input \(name.quotedForDisplay) has shape \(TensorShape(shapes[name] ?? [])), the network takes "
    if programs.count == 1 {
      text += "\(programs[0][nearest.input].type.shape)"
      text += nearest.batch.map { " at batch \($0)" } ?? ""
    } else {
      text += programs.map(\.shapeText).joined(by: "or")
    }
    return GraftError(.invalidArgument, text)
  }
}

extension [String] {
  /// `A`, `A or B`, `A, B or C`.
  func joined(by word: String) -> String {
    count < 2 ? joined() : dropLast().joined(separator: ", ") + " \(word) " + self[count - 1]
  }
}

extension [Session.Port] {
  /// The shape of the only input, or the names and shapes of several: `"a" [N,3] with "b" [N,4]`.
  var shapeText: String {
    guard count != 1 else { return "\(self[0].type.shape)" }
    return map { "\($0.name.quotedForDisplay) \($0.type.shape)" }.joined(separator: " with ")
  }
}

extension Manifest.Program {
  /// The shape of the only input, or the names and shapes of several.
  public var shapeText: String {
    get throws { try inputs.map(Session.Port.init).shapeText }
  }
}

extension ModelBundle {
  /// The first program whose inputs have these shapes.
  /// - Parameter shapes: of inputs by name, exactly as they were compiled; other inputs may have any.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if there is none, with the shapes that there are.
  func program(withShapes shapes: [String: InputShape]) throws -> Int {
    let programs = try manifest.programs.map { try $0.inputs.map(Session.Port.init) }
    let location = SourceLocation(file: path)
    for name in shapes.keys.sorted() where !programs[0].contains(where: { $0.name == name }) {
      throw GraftError(
        .invalidArgument,
        "there is no input \(name.quotedForDisplay); the inputs are "
          + programs[0].map(\.name.quotedForDisplay).joined(separator: ", "), at: location)
    }
    let index = programs.firstIndex { ports in
      ports.allSatisfy { shapes[$0.name].map(\.shape) ?? $0.type.shape == $0.type.shape }
    }
    guard let index else {
      let wanted = shapes.sorted { $0.key < $1.key }.map {
        "\($0.key.quotedForDisplay) \($0.value.shape)"
      }
      throw GraftError(
        .invalidArgument,
        "the bundle has no program for \(wanted.joined(separator: " with ")), only for "
          + programs.map(\.shapeText).joined(by: "and"), at: location,
        advice: "Compile the ONNX file for other shapes.")
    }
    return index
  }
}
