// Finding clang, checking its version, and compiling a generated model to libmodel.so.

import Foundation
import GraftDiagnostics
import GraftSystem
import Synchronization

/// The C compiler that Graft calls.
public struct Toolchain: Sendable {
  /// The absolute path of clang.
  public var clang: String
  /// The first line of `clang --version`.
  public var version: String

  /// Finds clang: $GRAFT_CLANG if it is set, else on PATH, else beside a `swift` on PATH.
  /// - Throws: ``GraftError`` of kind `toolchain` if there is none, or it does not run.
  public static func find(
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws -> Toolchain {
    let clang = try locate(environment)
    let result = try Subprocess.run(clang, ["--version"], seconds: 30)
    guard result.status == 0, let line = result.output.split(separator: "\n").first else {
      throw GraftError(
        .toolchain,
        "\(clang.quotedForDisplay) --version \(result.ending): \(result.errors.prefix(1000))",
        advice: installation)
    }
    guard let match = result.output.firstMatch(of: /clang version ([0-9]+)/),
      let version = Int(match.output.1)
    else {
      throw GraftError(
        .toolchain, "\(clang.quotedForDisplay) is not clang: its version is \(line)",
        advice: installation)
    }
    guard version >= oldestVersion else {
      throw GraftError(
        .toolchain, "\(clang.quotedForDisplay) is clang \(version)", advice: installation)
    }
    return Toolchain(clang: clang, version: String(line))
  }

  /// The oldest supported version; older ones lack vector builtins that the kernels use
  /// (`__builtin_elementwise_max`).
  static let oldestVersion = 14

  private static let installation =
    "Install clang \(oldestVersion) or later (on Debian 12, apt-get install clang), or set GRAFT_CLANG "
    + "to the path of one."

  private static func locate(_ environment: [String: String]) throws -> String {
    let files = FileManager.default
    if let chosen = environment["GRAFT_CLANG"], !chosen.isEmpty {
      guard files.isExecutableFile(atPath: chosen) else {
        throw GraftError(
          .toolchain, "GRAFT_CLANG is \(chosen.quotedForDisplay), which is not executable",
          advice: installation)
      }
      return chosen
    }
    if let clang = Subprocess.find("clang", environment: environment) { return clang }
    for folder in Subprocess.searchPath(environment) {
      let swift = URL(fileURLWithPath: folder + "/swift").resolvingSymlinksInPath()
      let candidate = swift.deletingLastPathComponent().appendingPathComponent("clang").path
      if files.isExecutableFile(atPath: candidate) { return candidate }
    }
    throw GraftError(.toolchain, "no clang on PATH", advice: installation)
  }

  /// Flags of every compilation. Warnings are errors only in tests, because another clang version may have
  /// new ones.
  static let commonFlags = [
    "-std=c11", "-O2", "-fPIC", "-fvisibility=hidden", "-ffp-contract=on", "-fno-math-errno",
    "-fno-stack-protector", "-Wall", "-Wextra", "-g0",
  ]

  /// Writes the sources into `folder` and compiles them to the model's library there.
  ///
  /// Files are compiled in parallel, `jobs` at a time. The objects are kept next to the sources.
  /// - Parameters:
  ///   - previous: whose objects are taken where nothing that goes into them has changed.
  ///   - extraFlags: added to every compilation and to linking, such as `-fsanitize=address`.
  /// - Returns: the path of the library.
  /// - Throws: ``GraftError`` of kind `toolchain` with clang's output if it fails, of kind `inputOutput` if
  ///   files cannot be written.
  @discardableResult
  public func compile(
    _ model: GeneratedModel, into folder: String,
    reusing previous: PreviousBuild? = nil,
    jobs: Int = ProcessInfo.processInfo.activeProcessorCount, extraFlags: [String] = []
  ) throws -> String {
    for source in model.sources {
      try write(source.text, to: folder + "/" + source.name)
    }
    // The longest files first, so that none of them starts last.
    let compiled = model.sources.filter { $0.role == .kernel || $0.role == .baseline }
      .sorted { ($0.text.utf8.count, $1.name) > ($1.text.utf8.count, $0.name) }
    let commands = try compiled.compactMap { source -> [String]? in
      let object = Self.object(source)
      if let old = previous?.object(named: object, of: source, in: model) {
        try copy(old, to: folder + "/" + object)
        return nil
      }
      let flags = source.role == .kernel ? model.target.kernelFlags : model.target.baselineFlags
      return Self.commonFlags + flags + extraFlags
        + ["-I.", "-c", source.name, "-o", Self.object(source)]
    }
    try runAll(commands, in: folder, jobs: max(1, jobs))
    let objects = model.sources.filter { $0.role == .kernel || $0.role == .baseline }
      .map(Self.object)
    let scripts = model.sources.filter { $0.role == .linkerScript }
      .map { "-Wl,--version-script=\($0.name)" }
    // clang's default linker only supports this machine's architecture.
    let linkFlags =
      model.target.isForeign
      ? Target.architectureFlags(in: model.target.baselineFlags) + ["-fuse-ld=lld"] : []
    try run(
      linkFlags + extraFlags + ["-shared", "-o", model.libraryName] + objects + scripts
        + ["-lm", "-Wl,--as-needed", "-Wl,-z,noexecstack", "-Wl,-soname,\(model.libraryName)"],
      in: folder)
    return folder + "/" + model.libraryName
  }

  private func write(_ text: String, to path: String) throws {
    try write(Data(text.utf8), to: path)
  }

  /// Foundation's own writing leaves out the system's reason for a failure.
  private func write(_ bytes: Data, to path: String) throws {
    let file = fopen(path, "wb")
    var failed = file == nil ? errno : 0
    if let file {
      let count = bytes.withUnsafeBytes { fwrite($0.baseAddress, 1, $0.count, file) }
      if count != bytes.count { failed = errno }
      if fclose(file) != 0, failed == 0 { failed = errno }
    }
    guard failed == 0 else {
      throw GraftError(
        .inputOutput, "cannot be written: \(String(cString: strerror(failed)))",
        at: SourceLocation(file: path),
        advice: failed == ENOSPC ? "Free some disk space, or write to another disk." : nil)
    }
  }

  private func copy(_ old: String, to new: String) throws {
    guard let bytes = FileManager.default.contents(atPath: old) else {
      throw GraftError(.inputOutput, "cannot be read", at: SourceLocation(file: old))
    }
    try write(bytes, to: new)
  }

  private static func object(_ source: SourceFile) -> String {
    String(source.name.dropLast(2)) + ".o"
  }

  private func run(_ arguments: [String], in folder: String) throws {
    let output = arguments.firstIndex(of: "-o").map { arguments[$0 + 1] } ?? ""
    let path = folder + "/" + output
    // Remove outputs of an earlier run.
    unlink(path)
    let result = try Subprocess.run(clang, arguments, in: folder)
    func failure(_ what: String) -> GraftError {
      let words = result.errors.split(separator: "\n").prefix(12).joined(separator: "\n")
      var advice = "The command was: \(clang) \(arguments.joined(separator: " "))"
      if !Target.architectureFlags(in: arguments).isEmpty {
        advice = Target.foreignAdvice + "\n  " + advice
      }
      return GraftError(
        .toolchain, "clang \(what)\(words.isEmpty ? "" : ":\n\(words)")", advice: advice)
    }
    guard result.status == 0 else { throw failure("\(result.ending) on \(output)") }
    guard Self.isELF(path) else { throw failure("succeeded, but wrote no \(output)") }
  }

  /// Whether the file starts with the ELF magic number.
  private static func isELF(_ path: String) -> Bool {
    guard let file = fopen(path, "re") else { return false }
    defer { fclose(file) }
    var magic = [UInt8](repeating: 0, count: 4)
    return fread(&magic, 1, 4, file) == 4 && magic == [0x7f, 0x45, 0x4c, 0x46]
  }

  private func runAll(_ commands: [[String]], in folder: String, jobs: Int) throws {
    let failure = Mutex<(any Error)?>(nil)
    WorkerThreads.perform(commands.count, threads: jobs) { index in
      guard failure.withLock({ $0 == nil }) else { return }
      do { try run(commands[index], in: folder) } catch {
        failure.withLock { if $0 == nil { $0 = error } }
      }
    }
    if let error = failure.withLock({ $0 }) { throw error }
  }
}
