// The root of the command line: the list of subcommands, and the one place where errors become
// messages and exit statuses.

import ArgumentParser
import CExhaustion
import Foundation
import Graft
import GraftDiagnostics

@main
struct GraftCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "graft",
    abstract: "Compiles pretrained ONNX networks to native code.",
    discussion: """
      Running a bundle runs its author's code: digests show damage, not who made it. dump, verify, \
      export and compile never load that code.
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
        // What was read as zeros may be what the error is about.
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

  /// ArgumentParser names the nearest option, but takes a misspelled command for an argument too many.
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
      "There is no command '\(name.escapedForDisplay)'"
        + (isNear
          ? "; did you mean '\(nearest)'?" : "; there are \(names.joined(separator: ", "))."))
  }

  /// Work that failed: one message on standard error, status 1.
  private static func fail(_ message: String) -> Never {
    Console.note("graft: \(message)")
    Foundation.exit(1)
  }

  /// Help, which is a result, or wrong usage.
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
