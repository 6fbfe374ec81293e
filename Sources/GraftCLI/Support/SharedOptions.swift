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

  func target() throws -> CompilationTarget { try CompilationTarget(named: name) }
}

/// `--input-shape NAME=Nx3x224x224`
struct InputShapeOption: ParsableArguments {
  @Option(
    name: .customLong("input-shape"),
    help: ArgumentHelp(
      "The shape of an input with dynamic axes; N is the dynamic batch size. Repeat for each such input. "
        + "(default: the shape in the file)",
      valueName: "NAME=Nx3x224x224"))
  var texts: [String] = []

  func parsed() throws -> [String: InputShape] {
    var shapes: [String: InputShape] = [:]
    for text in texts {
      guard let equals = text.lastIndex(of: "="),
        let shape = InputShape(String(text[text.index(after: equals)...]))
      else {
        throw ValidationError("--input-shape must have the form NAME=Nx3x224x224, found '\(text)'")
      }
      shapes[String(text[..<equals])] = shape
    }
    return shapes
  }
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
