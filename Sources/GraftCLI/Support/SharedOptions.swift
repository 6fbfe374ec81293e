// Options that several commands share, each defined and read once.

import ArgumentParser
import Foundation
import Graft
import GraftDiagnostics

/// `--target`
struct TargetOption: ParsableArguments {
  @Option(
    name: .customLong("target"),
    help: "The CPU to compile for: \(CompilationTarget.names.joined(separator: ", ")).",
    completion: .list(CompilationTarget.names))
  var name = "native"

  func validate() throws {
    guard CompilationTarget.names.contains(name) else {
      throw ValidationError(
        "--target must be one of "
          + CompilationTarget.names.joined(separator: ", ") + ", found '\(name)'")
    }
  }

  /// - Parameter precision: of the layers, on which it depends what native means.
  func target(for precision: Precision = .float32) throws -> CompilationTarget {
    name == "native" ? .native(for: precision) : try CompilationTarget(named: name)
  }
}

/// `--input-shape NAME=Nx3x224x224`, several times for the same input: one program for each shape.
struct InputShapeOption: ParsableArguments {
  @Option(
    name: .customLong("input-shape"),
    help: ArgumentHelp(
      "The shape of an input with dynamic axes, in the axis order of the file; N is the dynamic batch size. Repeat "
        + "for each such input. Several shapes of an input make a bundle with a program for each, over the same "
        + "weights; the k-th shapes of all inputs belong together, and an input with one shape has it in every "
        + "program. For a bundle: the programs to keep. (default: the shape in the file, or all programs)",
      valueName: "NAME=Nx3x224x224"))
  var texts: [String] = []

  func validate() throws { _ = try parsed() }

  /// The set of shapes of each program, by input; empty if the option was not given.
  func parsed() throws -> [[String: InputShape]] {
    try asUsage { try InputShape.sets(of: try texts.map(namedShape)) }
  }
}

/// `--input-shape NAME=Nx3x224x224`, once for each input: the shapes of one program.
struct ProgramShapeOption: ParsableArguments {
  @Option(
    name: .customLong("input-shape"),
    help: ArgumentHelp(
      "The shape of an input, in the axis order of the file; N is the dynamic batch size. Repeat for each input. "
        + "For an .onnx file: of an input with dynamic axes (default: the shape in the file). For a bundle: of "
        + "the program to take, if it has several (default: the first).",
      valueName: "NAME=Nx3x224x224"))
  var texts: [String] = []

  func validate() throws { _ = try parsed() }

  /// The shapes by input.
  func parsed() throws -> [String: InputShape] {
    let sets = try asUsage { try InputShape.sets(of: try texts.map(namedShape)) }
    guard sets.count < 2 else {
      throw ValidationError("--input-shape chooses one program: give each input one shape")
    }
    return sets.first ?? [:]
  }
}

/// An input and its shape as `NAME=Nx3x224x224`.
private func namedShape(_ text: String) throws -> (input: String, shape: InputShape) {
  guard let equals = text.lastIndex(of: "="),
    let shape = InputShape(String(text[text.index(after: equals)...]))
  else {
    throw ValidationError("--input-shape must have the form NAME=Nx3x224x224, found '\(text)'")
  }
  return (String(text[..<equals]), shape)
}

/// `--threads`
struct ThreadsOption: ParsableArguments {
  @Option(help: "The number of threads, from 1 to 1024. (default: the number of available cores)")
  var threads: Int?

  func validate() throws {
    if let threads, !(1...1024).contains(threads) {
      throw ValidationError("--threads must be between 1 and 1024")
    }
  }

  var count: Int { threads ?? AvailableCores.count }
}

/// Runs `body`; an invalid option value, independent of any file, becomes a usage error.
func asUsage<Result>(_ body: () throws -> Result) throws -> Result {
  do { return try body() } catch let error as GraftError
    where error.kind == .invalidArgument && error.location.file == nil
  { throw ValidationError(error.description) }
}
