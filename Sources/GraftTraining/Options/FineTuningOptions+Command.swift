// A `graft finetune` command that repeats a run with these options, for reports; only options that differ
// from the defaults.

import GraftDiagnostics

extension FineTuner.Options {
  /// The arguments of `graft` that repeat a run from its start: every option whose value is not its default.
  /// - Parameters:
  ///   - bundle: the path of the input bundle.
  ///   - output: the path of the output bundle.
  public func arguments(bundle: String, output: String) -> [String] {
    let defaults = FineTuner.Options(data: data)
    var arguments = ["finetune", bundle, "--data", data, "-o", output]
    for option in FineTuningOption.all where option.role != .beginning {
      guard let text = option.text(self), text != option.text(defaults),
        text != option.defaultText
      else { continue }
      arguments += ["--" + option.name] + (option.form == .flag ? [] : [text])
    }
    return arguments
  }

  /// ``arguments(bundle:output:)`` as a shell command.
  public func command(bundle: String, output: String) -> String {
    (["graft"] + arguments(bundle: bundle, output: output)).map(\.quotedForShell)
      .joined(separator: " ")
  }
}

extension String {
  /// The text as one word of a POSIX shell.
  var quotedForShell: String {
    let plain =
      !isEmpty
      && unicodeScalars.allSatisfy {
        ("a"..."z").contains($0) || ("A"..."Z").contains($0) || ("0"..."9").contains($0)
          || "-_./:=,+@%".unicodeScalars.contains($0)
      }
    return plain ? self : "'" + replacing("'", with: "'\\''") + "'"
  }
}
