// The options of a section of `graft finetune`, derived from their declarations in FineTuningOption, which
// has all names and help texts.

import ArgumentParser
import Graft
import GraftTraining

/// A section of the declarations.
protocol OptionSection {
  static var section: FineTuningOption.Section { get }
}

enum DataSection: OptionSection { static let section = FineTuningOption.Section.data }
enum HeadSection: OptionSection { static let section = FineTuningOption.Section.head }
enum OptimizationSection: OptionSection {
  static let section = FineTuningOption.Section.optimization
}
enum ScheduleSection: OptionSection { static let section = FineTuningOption.Section.schedule }
enum RegularizationSection: OptionSection {
  static let section = FineTuningOption.Section.regularization
}
enum DistillationSection: OptionSection {
  static let section = FineTuningOption.Section.distillation
}
enum RunSection: OptionSection { static let section = FineTuningOption.Section.run }

/// All options of one section. The parser finds the properties of a group by reflection, so the mirror lists
/// the declared options.
struct DeclaredOptions<Section: OptionSection>: ParsableArguments, CustomReflectable {
  /// The given values by option name; flags are `true`.
  private(set) var given: [String: String] = [:]

  private static var options: [FineTuningOption] {
    FineTuningOption.all.filter { $0.section == Section.section }
  }

  init() {}

  init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: Key.self)
    for option in Self.options {
      let key = Key(stringValue: option.name)
      if option.form == .flag {
        let flag = try values.decode(Flag<Bool>.self, forKey: key).wrappedValue
        given[option.name] = flag ? "true" : nil
      } else if case .list = option.form {
        let list = try values.decode(Option<[String]>.self, forKey: key).wrappedValue
        given[option.name] = list.isEmpty ? nil : list.joined(separator: ",")
      } else {
        given[option.name] = try values.decode(Option<String?>.self, forKey: key).wrappedValue
      }
    }
  }

  private struct Key: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  var customMirror: Mirror {
    Mirror(
      self,
      children: Self.options.map { option in
        // The name that the compiler gives the storage of a property wrapper.
        (label: "_" + option.name, value: Self.property(option))
      })
  }

  private static func property(_ option: FineTuningOption) -> Any {
    let name = NameSpecification.customLong(option.name)
    switch option.form {
    case .flag:
      return Flag<Bool>(wrappedValue: false, name: name, help: ArgumentHelp(option.help))
    case .value(let placeholder):
      return value(name, option.help, placeholder, nil)
    case .list(let placeholder):
      return Option<[String]>(
        wrappedValue: [], name: name, parsing: .singleValue,
        help: ArgumentHelp(stringLiteral: option.help).named(placeholder))
    case .words(let words, _):
      return value(name, option.help, option.name, .list(words))
    case .file(let extensions):
      return value(name, option.help, "file", .file(extensions: extensions))
    case .folder:
      return value(name, option.help, "folder", .directory)
    }
  }

  private static func value(
    _ name: NameSpecification, _ help: String, _ placeholder: String, _ completion: CompletionKind?
  ) -> Option<String?> {
    Option<String?>(
      name: name, help: ArgumentHelp(stringLiteral: help).named(placeholder),
      completion: completion)
  }
}

extension ArgumentHelp {
  fileprivate func named(_ placeholder: String) -> ArgumentHelp {
    var own = self
    own.valueName = placeholder
    return own
  }
}
