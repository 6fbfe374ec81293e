// The paths that a run reads and writes, and the files of an earlier run.

import Graft
import GraftData
import GraftDiagnostics

extension FineTuner.Options {
  /// - Parameters:
  ///   - bundle: the path of the input bundle.
  ///   - output: the path of the output bundle; nil if there is none.
  public func pathUses(bundle: String, output: String?) -> PathUses {
    var uses = PathUses()
    uses.read("BUNDLE", bundle)
    uses.read("--data", data, .data)
    uses.read("--val", validationData, .data)
    uses.read("--teacher", teacher?.bundle)
    guard let output else { return uses }
    uses.write("-o", output, .bundle)
    uses.write("of -o's lock", PathLock.path(for: output), .file)
    uses.write(
      resumes ? "--resume" : "--checkpoint", checkpointFolder(of: output),
      .files(Checkpoint.fileNames))
    uses.write("--metrics", metrics, .file)
    uses.write("--tensorboard", tensorboard, .files(["events.out.tfevents.*"]))
    uses.write("--report", report, .file)
    return uses
  }

  /// The checkpoint folder of a run that writes `output`.
  func checkpointFolder(of output: String) -> String {
    checkpoint ?? Self.path(output, with: ".checkpoint")
  }

  /// The file of the curve of a learning rate search for `output`.
  public static func curveFile(of output: String) -> String { path(output, with: ".find-lr.svg") }

  /// A path beside `output`, which may end in slashes.
  private static func path(_ output: String, with suffix: String) -> String {
    var name = output
    while name.count > 1, name.hasSuffix("/") { name.removeLast() }
    return name + suffix
  }
}

extension Checkpoint {
  /// The command that continues from the state.
  var resumeCommand: String { "graft finetune --resume \(folder.quotedForShell)" }

  /// Checks for the checkpoint of an earlier run, before any work.
  /// - Throws: ``GraftError`` if there is none to resume, or if a new run would overwrite one.
  func checkPlace(_ options: FineTuner.Options) throws {
    let location = SourceLocation(file: folder)
    if options.resumes {
      guard exists else {
        throw GraftError(.invalidData, "there is no checkpoint to resume", at: location)
      }
    } else if exists, !options.overwrites {
      throw GraftError(
        .invalidArgument, "exists and is the checkpoint of an earlier run", at: location,
        advice:
          "Continue it with: \(resumeCommand), or pass --overwrite to remove it and start a new run."
      )
    }
  }
}
