// The root of the command line: the list of subcommands, and the one place where errors become
// messages and exit statuses.

import ArgumentParser
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
    // A reader that closes its end of a pipe is no reason to end in a signal.
    signal(SIGPIPE, SIG_IGN)
    Interruption.removeTemporaryFiles()
    do {
      var command = try parseAsRoot()
      try (command as? any UsesPaths)?.pathUses().check()
      try command.run()
    } catch let error as GraftError {
      fail(error.description)
    } catch let error as CocoaError {
      fail(error.localizedDescription.escapedForDisplay)
    } catch {
      exit(withError: error)
    }
  }

  /// Work that failed: one message on standard error, status 1.
  private static func fail(_ message: String) -> Never {
    FileHandle.standardError.write(Data("graft: \(message)\n".utf8))
    Foundation.exit(1)
  }
}
