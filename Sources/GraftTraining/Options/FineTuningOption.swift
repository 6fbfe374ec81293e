// An option of a fine-tuning run. Options are declared once, in FineTuningOption+Declarations.swift; the
// command line and its help, the validation of FineTuner.Options, what a checkpoint records and compares, and
// the command in a report are all derived from the declarations.

import GraftDiagnostics

/// One option of a fine-tuning run, as `graft finetune` takes it.
public struct FineTuningOption: Sendable {
  /// A section of the help.
  public enum Section: String, CaseIterable, Sendable {
    case data = "Data"
    case head = "Head and unfrozen layers"
    case optimization = "Optimization"
    case schedule = "Schedule"
    case regularization = "Regularization and augmentation"
    case distillation = "Distillation"
    case run = "Run and outputs"
  }

  /// The argument of the option on the command line.
  public enum Form: Sendable, Equatable {
    /// No argument.
    case flag
    /// A value; the text is its placeholder in the help.
    case value(String)
    /// The same, given any number of times; the values are joined by commas.
    case list(String)
    /// One of these words; with `isOpen`, also other values such as combinations of them.
    case words([String], isOpen: Bool = false)
    /// A path of a file, with one of these extensions if there are any.
    case file([String] = [])
    case folder
  }

  /// How an option relates to the identity of a run.
  public enum Role: Sendable {
    /// The trained weights depend on it: a checkpoint of a run with another value is rejected.
    case identity
    /// As `identity`, but a run that diverged may continue with another value.
    case rate
    /// A path that data are read from. The data are compared by content, not by path.
    case input
    /// Resources and outputs of the run.
    case circumstance
    /// How a run starts; not recorded.
    case beginning
  }

  /// Without the dashes.
  public let name: String
  public let section: Section
  public let form: Form
  /// Its meaning, with its unit.
  public let meaning: String
  /// The valid values, as text.
  public let range: String?
  /// The behavior if it is not given and has no default value.
  public let absence: String?
  public let role: Role

  /// The value in `options` in the syntax of the command line; nil if unset.
  let text: @Sendable (FineTuner.Options) -> String?
  /// Parses a value and stores it in the options.
  /// - Throws: ``GraftError`` of kind `invalidArgument` without a file.
  let assign: @Sendable (inout FineTuner.Options, String) throws -> Void
  /// Why the value in `options` is invalid; nil if it is valid.
  let problem: @Sendable (FineTuner.Options) -> String?
  /// Why it has no effect in combination with the other options; nil if it has one.
  var idle: @Sendable (FineTuner.Options) -> String? = { _ in nil }
  /// Why it cannot be combined with the other options; only called if its value is not the default.
  var conflict: @Sendable (FineTuner.Options) -> String? = { _ in nil }

  /// The default value; nil if there is none.
  public var defaultText: String? {
    guard form != .flag else { return nil }
    return text(FineTuner.Options(data: "")) ?? text(.withEveryPart)
  }

  /// Meaning, unit, range and default in one sentence or two.
  public var help: String {
    let values: String? =
      switch form {
      case .words(let words, isOpen: false): ": " + Self.alternatives(words)
      default: range.map { "; " + $0 }
      }
    let usual =
      name == "threads" ? absence : defaultText.flatMap { $0.isEmpty ? nil : $0 } ?? absence
    return meaning + (values ?? "") + "."
      + (usual.map { " (default: \($0))" } ?? "")
  }

  /// `a, b or c`
  static func alternatives(_ words: [String]) -> String {
    guard let last = words.last, words.count > 1 else { return words.first ?? "" }
    return words.dropLast().joined(separator: ", ") + " or " + last
  }

  /// The option of a name.
  public static func named(_ name: String) -> FineTuningOption? { all.first { $0.name == name } }

  /// `base` with the given values, keyed by option name.
  /// - Throws: ``GraftError`` of kind `invalidArgument` without a file for an invalid value.
  static func options(
    of values: [String: String], over base: FineTuner.Options
  ) throws -> FineTuner.Options {
    var options = base
    for option in all {
      if let text = values[option.name] { try option.assign(&options, text) }
    }
    return options
  }

  /// The options of a run from those given on a command line, keyed by name.
  /// - Parameter base: the values of options that were not given.
  /// - Throws: ``GraftError`` of kind `invalidArgument` without a file for an invalid value, or an option
  ///   that has no effect or cannot be used in combination with the others.
  public static func options(
    from given: [String: String], over base: FineTuner.Options
  ) throws -> FineTuner.Options {
    let options = try self.options(of: given, over: base)
    for option in all where given[option.name] != nil {
      if let reason = option.idle(options) {
        throw GraftError(.invalidArgument, "--\(option.name) has no effect: \(reason)")
      }
    }
    try options.validate()
    return options
  }

  /// Checks the options given together with `--resume`, as far as possible without the checkpoint.
  /// - Throws: ``GraftError`` of kind `invalidArgument` without a file.
  public static func check(givenWithResume given: [String: String]) throws {
    let options = try options(of: given, over: FineTuner.Options(data: ""))
    for option in all where given[option.name] != nil {
      guard [.circumstance, .beginning].contains(option.role) else { continue }
      if let reason = option.idle(options) {
        throw GraftError(.invalidArgument, "--\(option.name) has no effect: \(reason)")
      }
    }
  }

  /// The values of all options by name, except those of role `beginning`.
  static func record(of options: FineTuner.Options) -> [String: String] {
    var record: [String: String] = [:]
    for option in all where option.role != .beginning { record[option.name] = option.text(options) }
    return record
  }
}

extension FineTuner.Options {
  /// The options of a rehearsal: identity and inputs of the run, without its outputs and limits. Two epochs,
  /// because the first one has cold caches, at a learning rate close to 0, because a run that diverges would
  /// end early.
  func forRehearsal() throws -> Self {
    var own = Self(data: data)
    (own.threads, own.target) = (threads, target)
    let values = FineTuningOption.all.filter { ![.circumstance, .beginning].contains($0.role) }
    for option in values {
      if let text = option.text(self) { try option.assign(&own, text) }
    }
    (own.epochs, own.earlyStop) = (2, nil)
    own.learningRate = 1e-9
    own.headLearningRate = headLearningRate.map { _ in 1e-9 }
    return own
  }

  /// Options in which also those that depend on another option have their default values.
  fileprivate static var withEveryPart: Self {
    var options = Self(data: "")
    if let shape = try? LearningRateSchedule.Shape(named: "step") { options.schedule.shape = shape }
    options.teacher = FineTuner.Teacher(bundle: "")
    return options
  }

  /// - Throws: ``GraftError`` of kind `invalidArgument` that names the invalid option.
  func validate() throws {
    for option in FineTuningOption.all {
      if let problem = option.problem(self) { throw GraftError(.invalidArgument, problem) }
      guard let text = option.text(self), text != option.defaultText else { continue }
      if let reason = option.conflict(self) {
        throw GraftError(.invalidArgument, "--\(option.name) cannot be used here: \(reason)")
      }
    }
  }
}

// MARK: Kinds of options

/// The valid values of a numeric option.
struct NumberRange<Value: OptionNumber>: Sendable {
  let text: String
  let contains: @Sendable (Value) -> Bool

  static func from(_ low: Value, to high: Value) -> Self {
    Self(text: "from \(low.optionText) to \(high.optionText)") { low <= $0 && $0 <= high }
  }
  static func from(_ low: Value, below high: Value) -> Self {
    Self(text: "at least \(low.optionText) and below \(high.optionText)") { low <= $0 && $0 < high }
  }
  static func above(_ low: Value, below high: Value) -> Self {
    Self(text: "greater than \(low.optionText) and below \(high.optionText)") {
      low < $0 && $0 < high
    }
  }
  static func above(_ low: Value, to high: Value) -> Self {
    Self(text: "greater than \(low.optionText) and at most \(high.optionText)") {
      low < $0 && $0 <= high
    }
  }
}

extension NumberRange where Value == Int {
  static func atLeast(_ low: Int) -> Self { Self(text: "at least \(low)") { low <= $0 } }
}

extension NumberRange where Value == Double {
  static var positive: Self { Self(text: "greater than 0") { $0 > 0 && $0.isFinite } }
  static var notNegative: Self { Self(text: "at least 0") { $0 >= 0 && $0.isFinite } }
}

/// A number with a canonical text: 1, not 1.0.
protocol OptionNumber: Comparable, Sendable, LosslessStringConvertible {
  var optionText: String { get }
}

extension Int: OptionNumber { var optionText: String { description } }
extension UInt64: OptionNumber { var optionText: String { description } }
extension Double: OptionNumber {
  var optionText: String {
    description.hasSuffix(".0") ? String(description.dropLast(2)) : description
  }
}

extension FineTuningOption {
  typealias Options = FineTuner.Options

  /// A number.
  static func number<Value: OptionNumber>(
    _ name: String, _ section: Section, _ meaning: String, _ range: NumberRange<Value>,
    absence: String? = nil, role: Role = .identity, placeholder: String = "number",
    get: @escaping @Sendable (Options) -> Value?,
    set: @escaping @Sendable (inout Options, Value) -> Void
  ) -> FineTuningOption {
    @Sendable func message(_ found: String) -> String {
      "--\(name) must be \(range.text), found \(found)"
    }
    return FineTuningOption(
      name: name, section: section, form: .value(placeholder), meaning: meaning, range: range.text,
      absence: absence, role: role,
      text: { get($0)?.optionText },
      assign: { options, text in
        guard let value = Value(text), range.contains(value) else {
          throw GraftError(.invalidArgument, message(text.quotedIfNoNumber))
        }
        set(&options, value)
      },
      problem: { options in
        get(options).flatMap { range.contains($0) ? nil : message($0.optionText) }
      })
  }

  /// A choice among the raw values of an enum.
  static func choice<Value: RawRepresentable & CaseIterable & Sendable>(
    _ name: String, _ section: Section, _ meaning: String,
    _ path: any WritableKeyPath<Options, Value> & Sendable, role: Role = .identity
  ) -> FineTuningOption where Value.RawValue == String {
    choice(
      name, section, meaning, Value.self, absence: nil, role: role,
      get: { $0[keyPath: path] }, set: { $0[keyPath: path] = $1 })
  }

  /// A choice that may be left open.
  static func choice<Value: RawRepresentable & CaseIterable & Sendable>(
    _ name: String, _ section: Section, _ meaning: String,
    _ path: any WritableKeyPath<Options, Value?> & Sendable, absence: String,
    role: Role = .identity
  ) -> FineTuningOption where Value.RawValue == String {
    choice(
      name, section, meaning, Value.self, absence: absence, role: role,
      get: { $0[keyPath: path] }, set: { $0[keyPath: path] = $1 })
  }

  private static func choice<Value: RawRepresentable & CaseIterable & Sendable>(
    _ name: String, _ section: Section, _ meaning: String, _ type: Value.Type, absence: String?,
    role: Role, get: @escaping @Sendable (Options) -> Value?,
    set: @escaping @Sendable (inout Options, Value) -> Void
  ) -> FineTuningOption where Value.RawValue == String {
    let words = Value.allCases.map(\.rawValue)
    return FineTuningOption(
      name: name, section: section, form: .words(words), meaning: meaning, range: nil,
      absence: absence, role: role,
      text: { get($0)?.rawValue },
      assign: { options, text in
        guard let value = Value(rawValue: text) else {
          throw GraftError(
            .invalidArgument,
            "--\(name) must be one of "
              + words.joined(separator: ", ") + ", found " + text.quotedForDisplay)
        }
        set(&options, value)
      },
      problem: { _ in nil })
  }

  /// An option whose text `set` parses.
  static func text(
    _ name: String, _ section: Section, _ meaning: String, form: Form, range: String? = nil,
    absence: String? = nil, role: Role = .identity,
    get: @escaping @Sendable (Options) -> String?,
    set: @escaping @Sendable (inout Options, String) throws -> Void
  ) -> FineTuningOption {
    FineTuningOption(
      name: name, section: section, form: form, meaning: meaning, range: range, absence: absence,
      role: role, text: get, assign: set, problem: { _ in nil })
  }

  /// A flag.
  static func flag(
    _ name: String, _ section: Section, _ meaning: String, role: Role = .identity,
    get: @escaping @Sendable (Options) -> Bool,
    set: @escaping @Sendable (inout Options) -> Void
  ) -> FineTuningOption {
    FineTuningOption(
      name: name, section: section, form: .flag, meaning: meaning, range: nil, absence: nil,
      role: role, text: { get($0) ? "true" : nil }, assign: { options, _ in set(&options) },
      problem: { _ in nil })
  }

  /// The option with a condition under which it has no effect.
  func idle(when reason: @escaping @Sendable (Options) -> String?) -> FineTuningOption {
    var own = self
    own.idle = reason
    return own
  }

  /// The option with a condition under which it cannot be used.
  func refused(when reason: @escaping @Sendable (Options) -> String?) -> FineTuningOption {
    var own = self
    own.conflict = reason
    return own
  }
}

extension String {
  /// Numbers unchanged, anything else in quotes.
  fileprivate var quotedIfNoNumber: String { Double(self) == nil ? quotedForDisplay : self }
}
