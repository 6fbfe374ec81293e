// The declarations of fine-tuning's options: what follows from them agrees with them.

import Foundation
import GraftDiagnostics
import GraftTesting
import Testing

@testable import GraftTraining

@Suite("Declarations of options")
struct FineTuningOptionTests {
  /// The long names of `graft finetune`, by section, as the executable tells them.
  private func names() throws -> [String: Set<String>] {
    let result = try GraftProgram.run(["--experimental-dump-help"])
    let document = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
    let root = (document as? [String: Any])?["command"] as? [String: Any]
    let commands = root?["subcommands"] as? [[String: Any]] ?? []
    let finetune = try #require(commands.first { $0["commandName"] as? String == "finetune" })
    var names: [String: Set<String>] = [:]
    for argument in finetune["arguments"] as? [[String: Any]] ?? [] {
      let own = (argument["names"] as? [[String: Any]] ?? [])
        .filter { $0["kind"] as? String == "long" }.compactMap { $0["name"] as? String }
      names[argument["sectionTitle"] as? String ?? "", default: []].formUnion(own)
    }
    return names
  }

  @Test("the command has every option that is declared, in its section, and none beside them")
  func command() throws {
    var names = try names()
    #expect(names.removeValue(forKey: "") == ["plan", "find-lr", "json", "help", "version"])
    let declared = Dictionary(grouping: FineTuningOption.all, by: \.section.rawValue)
      .mapValues { Set($0.map(\.name)) }
    #expect(names == declared)
    #expect(Set(FineTuningOption.all.map(\.name)).count == FineTuningOption.all.count)
  }

  @Test("help tells meaning, values and default")
  func help() throws {
    let text = try GraftProgram.run(["finetune", "--help"]).output
      .split(whereSeparator: \.isWhitespace).joined(separator: " ")
    for section in FineTuningOption.Section.allCases {
      #expect(text.contains(section.rawValue.uppercased() + ":"), "\(section.rawValue)")
    }
    for option in FineTuningOption.all {
      #expect(text.contains(option.help), "\(option.help)")
      switch option.form {
      case .flag: break
      default:
        let isRequired = ["data", "resume"].contains(option.name)
        #expect(isRequired || option.help.contains("(default: "), "\(option.name)")
      }
    }
    #expect(FineTuningOption.named("lr")?.help.contains("greater than 0. (default: 0.01)") == true)
  }

  @Test("every value can be read back, and defaults are values")
  func roundTrip() throws {
    let defaults = FineTuner.Options(data: "d")
    try defaults.validate()
    for option in FineTuningOption.all {
      guard let text = option.defaultText, !text.isEmpty else { continue }
      var options = defaults
      if ["step-size", "gamma"].contains(option.name) {
        options = try FineTuningOption.options(of: ["schedule": "step"], over: options)
      }
      if ["temperature", "alpha"].contains(option.name) {
        options = try FineTuningOption.options(of: ["teacher": "t"], over: options)
      }
      try option.assign(&options, text)
      #expect(option.text(options) == text, "\(option.name)")
    }
    for text in ["900M", "900000000"] {
      let options = try FineTuningOption.options(of: ["memory-limit": text], over: defaults)
      #expect(options.memoryLimit == 900_000_000)
    }
  }

  @Test("a rehearsal keeps what a run is, and nothing of what it writes")
  func rehearsal() throws {
    var options = FineTuner.Options(data: "d")
    options.unfreeze = .last(3)
    options.teacher = FineTuner.Teacher(bundle: "t", temperature: 3, alpha: 0.25)
    options.schedule = LearningRateSchedule(.step(size: 3, gamma: 0.3), warmup: 0.1)
    (options.checkpoint, options.metrics, options.report) = ("c", "m", "r")
    (options.memoryLimit, options.resumes, options.earlyStop) = (1, true, 4)
    let own = try options.forRehearsal()
    #expect(own.unfreeze == .last(3) && own.schedule == options.schedule)
    #expect(own.teacher?.bundle == "t" && own.teacher?.temperature == 3)
    #expect(own.teacher?.alpha == 0.25 && own.epochs == 2 && own.earlyStop == nil)
    #expect(own.checkpoint == nil && own.metrics == nil && own.report == nil)
    #expect(own.memoryLimit == nil && !own.resumes && own.threads == options.threads)
  }
}
