// Options that several commands share, each defined and read once.

import ArgumentParser
import Foundation
import Graft
import GraftDiagnostics

/// `--target`
struct TargetOption: ParsableArguments {
  @Option(
    name: .customLong("target"),
    help: "The machine to compile for: \(CompilationTarget.names.joined(separator: ", ")).",
    completion: .list(CompilationTarget.names))
  var name = "native"

  func validate() throws {
    guard CompilationTarget.names.contains(name) else {
      throw ValidationError(
        "there is no target '\(name)'; choose one of "
          + CompilationTarget.names.joined(separator: ", "))
    }
  }

  func target() throws -> CompilationTarget { try CompilationTarget(named: name) }
}

/// `--input-shape NAME=Nx3x224x224`
struct InputShapeOption: ParsableArguments {
  @Option(
    name: .customLong("input-shape"),
    help: ArgumentHelp(
      "Fix the free axes of an input; N stays free. May be given once for each input.",
      valueName: "NAME=Nx3x224x224"))
  var texts: [String] = []

  func parsed() throws -> [String: InputShape] {
    var shapes: [String: InputShape] = [:]
    for text in texts {
      guard let equals = text.lastIndex(of: "="),
        let shape = InputShape(String(text[text.index(after: equals)...]))
      else {
        throw ValidationError("'\(text)' is no --input-shape; write NAME=Nx3x224x224")
      }
      shapes[String(text[..<equals])] = shape
    }
    return shapes
  }
}

/// `--threads`
struct ThreadsOption: ParsableArguments {
  @Option(help: "Threads; by default the cores that are available.")
  var threads: Int?

  func validate() throws {
    if let threads, !(1...1024).contains(threads) {
      throw ValidationError("--threads must be between 1 and 1024")
    }
  }

  var count: Int { threads ?? AvailableCores.count }
}

/// Runs `body`; what is wrong with an option by itself, whatever the files, is wrong usage.
func asUsage<Result>(_ body: () throws -> Result) throws -> Result {
  do { return try body() } catch let error as GraftError
    where error.kind == .invalidArgument && error.location.file == nil
  { throw ValidationError(error.description) }
}
