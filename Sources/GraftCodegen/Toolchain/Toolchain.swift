// clang: where it is, which version, and how a generated model becomes libmodel.so.

import Foundation
import GraftDiagnostics
import Synchronization

/// The C compiler that Graft calls.
public struct Toolchain: Sendable {
  /// The absolute path of clang.
  public var clang: String
  /// The first line of `clang --version`.
  public var version: String

  /// Finds clang: $GRAFT_CLANG if it is set, else on PATH, else beside a `swift` on PATH.
  /// - Throws: ``GraftError`` of kind `toolchain` where there is none, or it does not run.
  public static func find(
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws -> Toolchain {
    let clang = try locate(environment)
    let result = try Subprocess.run(clang, ["--version"])
    guard result.status == 0, let line = result.output.split(separator: "\n").first else {
      throw GraftError(
        .toolchain, "\(clang.quotedForDisplay) --version failed: \(result.errors)",
        advice: "Install clang 16 or later, or set GRAFT_CLANG to one.")
    }
    return Toolchain(clang: clang, version: String(line))
  }

  private static func locate(_ environment: [String: String]) throws -> String {
    let files = FileManager.default
    if let chosen = environment["GRAFT_CLANG"], !chosen.isEmpty {
      guard files.isExecutableFile(atPath: chosen) else {
        throw GraftError(
          .toolchain, "GRAFT_CLANG is \(chosen.quotedForDisplay), which is no program")
      }
      return chosen
    }
    if let clang = Subprocess.find("clang", environment: environment) { return clang }
    for folder in Subprocess.searchPath(environment) {
      let swift = URL(fileURLWithPath: folder + "/swift").resolvingSymlinksInPath()
      let candidate = swift.deletingLastPathComponent().appendingPathComponent("clang").path
      if files.isExecutableFile(atPath: candidate) { return candidate }
    }
    throw GraftError(
      .toolchain, "no clang on PATH",
      advice: "Install clang 16 or later (apt install clang), or set GRAFT_CLANG to one.")
  }

  /// Flags of every compilation. Warnings are no errors here, though tests make them so: another
  /// clang may know more of them, and a user could not mend it.
  static let commonFlags = [
    "-std=c11", "-O2", "-fPIC", "-fvisibility=hidden", "-ffp-contract=on", "-fno-math-errno",
    "-fno-stack-protector", "-Wall", "-Wextra", "-g0",
  ]

  /// Writes the sources into `folder` and compiles them to the model's library there.
  ///
  /// Files compile in parallel, `jobs` at a time. The objects stay beside the sources.
  /// - Parameters:
  ///   - previous: whose objects are taken where nothing that goes into them has changed.
  ///   - extraFlags: added to every compilation and to linking, such as `-fsanitize=address`.
  /// - Returns: the path of the library.
  /// - Throws: ``GraftError`` of kind `toolchain` with clang's own words where it fails, of kind
  ///   `inputOutput` where files cannot be written.
  @discardableResult
  public func compile(
    _ model: GeneratedModel, into folder: String,
    reusing previous: PreviousBuild? = nil,
    jobs: Int = ProcessInfo.processInfo.activeProcessorCount, extraFlags: [String] = []
  ) throws -> String {
    for source in model.sources {
      let path = folder + "/" + source.name
      do {
        try Data(source.text.utf8).write(to: URL(fileURLWithPath: path))
      } catch {
        throw GraftError(
          .inputOutput, "cannot write \(path.quotedForDisplay): \(error.localizedDescription)")
      }
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
    // The linker that clang takes by itself knows this machine's files alone.
    let linkFlags =
      model.target.isForeign
      ? Target.architectureFlags(in: model.target.baselineFlags) + ["-fuse-ld=lld"] : []
    try run(
      linkFlags + extraFlags + ["-shared", "-o", model.libraryName] + objects + scripts
        + ["-lm", "-Wl,--as-needed", "-Wl,-z,noexecstack", "-Wl,-soname,\(model.libraryName)"],
      in: folder)
    return folder + "/" + model.libraryName
  }

  private func copy(_ old: String, to new: String) throws {
    do { try FileManager.default.copyItem(atPath: old, toPath: new) } catch {
      throw GraftError(
        .inputOutput, "cannot be written: \(error.localizedDescription)",
        at: SourceLocation(file: new))
    }
  }

  private static func object(_ source: SourceFile) -> String {
    String(source.name.dropLast(2)) + ".o"
  }

  private func run(_ arguments: [String], in folder: String) throws {
    let result = try Subprocess.run(clang, arguments, in: folder)
    guard result.status == 0 else {
      let words = result.errors.split(separator: "\n").prefix(12).joined(separator: "\n")
      var advice = "It was called as: clang \(arguments.joined(separator: " "))"
      if !Target.architectureFlags(in: arguments).isEmpty {
        advice = Target.foreignAdvice + "\n  " + advice
      }
      throw GraftError(
        .toolchain,
        "clang failed with status \(result.status) on \(arguments.last ?? ""):\n\(words)",
        advice: advice)
    }
  }

  private func runAll(_ commands: [[String]], in folder: String, jobs: Int) throws {
    let next = Mutex(0)
    let failure = Mutex<(any Error)?>(nil)
    DispatchQueue.concurrentPerform(iterations: min(jobs, commands.count)) { _ in
      while true {
        let index = next.withLock { next in
          defer { next += 1 }
          return next
        }
        guard index < commands.count, failure.withLock({ $0 == nil }) else { return }
        do { try run(commands[index], in: folder) } catch {
          failure.withLock { if $0 == nil { $0 = error } }
        }
      }
    }
    if let error = failure.withLock({ $0 }) { throw error }
  }
}
