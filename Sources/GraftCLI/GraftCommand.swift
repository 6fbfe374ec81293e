// The root of the command line: the list of subcommands, and the conversion of errors to messages and exit
// statuses.

import ArgumentParser
import CExhaustion
import Foundation
import Graft
import GraftDiagnostics

@main
struct GraftCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "graft",
    abstract: "Compile, run and fine-tune pretrained ONNX networks as native code.",
    discussion: """
      Running a bundle executes its author's code: digests detect corruption, not tampering. dump, \
      verify, export and compile never load that code.
      """,
    version: GraftVersion.current,
    subcommands: [
      CompileCommand.self, DumpCommand.self, RunCommand.self, PredictCommand.self,
      EvaluateCommand.self, PreprocessCommand.self, ExportCommand.self, BenchCommand.self,
      VerifyCommand.self, FinetuneCommand.self,
    ])

  static func main() {
    ProcessGuard.install()
    CExhaustion_endWithMessage()
    ProcessGuard.withEnoughStack(runAndExit)
  }

  private static func runAndExit() {
    do {
      do {
        try checkCommandName(CommandLine.arguments.dropFirst().first)
        var command = try parseAsRoot()
        try (command as? any UsesPaths)?.pathUses().check()
        try command.run()
      } catch {
        // The error may be a consequence of a truncated mapped file, whose missing pages read as zeros.
        try ProcessGuard.checkMappedFiles()
        throw error
      }
      try ProcessGuard.checkMappedFiles()
    } catch let error as GraftError {
      fail(error.description)
    } catch let error as CocoaError {
      fail(error.localizedDescription.escapedForDisplay)
    } catch {
      end(with: error)
    }
  }

  /// ArgumentParser suggests the nearest option, but reports a misspelled command as an unexpected argument.
  private static func checkCommandName(_ name: String?) throws {
    var names = ["help"]
    for command in configuration.subcommands {
      if let name = command.configuration.commandName { names.append(name) }
    }
    guard let name, !name.hasPrefix("-"), !names.contains(name) else { return }
    var (nearest, distance) = ("", Int.max)
    for candidate in names where name.editDistance(to: candidate) < distance {
      (nearest, distance) = (candidate, name.editDistance(to: candidate))
    }
    let isNear = distance <= max(2, nearest.count / 2 - 1)
    throw ValidationError(
      "unknown command '\(name.escapedForDisplay)'"
        + (isNear
          ? "; did you mean '\(nearest)'?" : "; the commands are \(names.joined(separator: ", ")).")
    )
  }

  /// Ends with one message on standard error and status 1.
  private static func fail(_ message: String) -> Never {
    Console.note("graft: \(message)")
    Foundation.exit(1)
  }

  /// Prints help to standard output, or a usage error to standard error.
  private static func end(with error: any Error) -> Never {
    let status = exitCode(for: error)
    let text = fullMessage(for: error)
    guard status == .success else {
      if !text.isEmpty { Console.note(text) }
      Foundation.exit(status.rawValue)
    }
    do {
      if !text.isEmpty { try Console.result(text) }
    } catch {
      fail("\(error)")
    }
    Foundation.exit(0)
  }
}
