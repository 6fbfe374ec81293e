// The paths that a command reads and writes, checked before any work: an output must not be an input, be
// inside an input, or be another output.

import Foundation
import GraftDiagnostics

/// The paths of one command.
public struct PathUses: Sendable {
  /// The kind of an input.
  public enum Input: Sendable {
    /// A file, or a bundle with all its files.
    case whole
    /// A data set; the files that it reads depend on its layout.
    case data
  }

  /// The kind of an output.
  public enum Output: Sendable {
    /// A file; an existing regular file is replaced.
    case file
    /// A bundle; an existing bundle is replaced.
    case bundle
    /// Files with these names in a folder, which is created if it is missing. `*` is a wildcard.
    case files([String])
    /// As `files`, but failing to write them is not an error.
    case cache([String])
  }

  struct Entry<Kind: Sendable>: Sendable {
    /// The name of the option or argument.
    var name: String
    var path: String
    var kind: Kind
    var place: ResolvedPath
  }

  private(set) var inputs: [Entry<Input>] = []
  private(set) var outputs: [Entry<Output>] = []

  public init() {}

  /// Adds an input; a nil path means that the option was not given.
  public mutating func read(_ name: String, _ path: String?, _ kind: Input = .whole) {
    guard let path, !path.isEmpty else { return }
    inputs.append(Entry(name: name, path: path, kind: kind, place: ResolvedPath(path)))
  }

  /// Adds an output; a nil path means that the option was not given.
  public mutating func write(_ name: String, _ path: String?, _ kind: Output) {
    guard let path else { return }
    outputs.append(Entry(name: name, path: path, kind: kind, place: ResolvedPath(path)))
  }

  /// - Throws: ``GraftError`` that names the first output that cannot be written or that conflicts with
  ///   another path.
  public func check() throws {
    for output in outputs {
      switch output.kind {
      case .file: _ = try FileReplacement(at: output.path)
      case .bundle: _ = try DirectoryReplacement(at: output.path)
      case .files: try Self.checkFolder(output.path)
      case .cache: break
      }
    }
    try checkConflicts()
  }

  func checkConflicts() throws {
    for (index, output) in outputs.enumerated() {
      for input in inputs {
        if let conflict = Self.conflict(output, input) { throw Self.error(conflict, output) }
      }
      for other in outputs[..<index] {
        if let conflict = Self.conflict(output, other) { throw Self.error(conflict, output) }
      }
    }
  }

  private static func error(_ conflict: String, _ output: Entry<Output>) -> GraftError {
    let name = output.name.isEmpty ? "" : " \(output.name)"
    return GraftError(
      .invalidArgument, "the output\(name) \(conflict)", at: SourceLocation(file: output.path),
      advice: "Choose another path for \(output.name.isEmpty ? "the output" : output.name).")
  }

  /// Checks that an output folder exists or can be created.
  private static func checkFolder(_ path: String) throws {
    let location = SourceLocation(file: path)
    guard !path.isEmpty, !path.utf8.contains(0) else {
      throw GraftError(.invalidArgument, "the output folder has no name", at: location)
    }
    var place = ResolvedPath(path)
    guard !FileManager.default.fileExists(atPath: place.path + "/manifest.json") else {
      throw GraftError(
        .invalidArgument, "is a bundle, to which no other files may be added", at: location,
        advice: "Choose another folder.")
    }
    while !place.exists, let above = place.parent { place = above }
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: place.path, isDirectory: &isFolder),
      isFolder.boolValue
    else {
      throw GraftError(
        .inputOutput, "the folder cannot be created: \(place.path.quotedForDisplay) is a file",
        at: location, advice: "Choose another name.")
    }
    guard access(place.path, W_OK | X_OK) == 0 else {
      throw systemError(errno, "cannot be written", path)
    }
  }

  // MARK: Conflicts, as what an output does

  private static func conflict(_ output: Entry<Output>, _ input: Entry<Input>) -> String? {
    let name = input.name.isEmpty ? "" : " \(input.name)"
    if output.place.isSame(as: input.place) { return "is the input\(name)" }
    switch input.kind {
    case .whole:
      if input.place.holds(output.place) {
        return "is inside the input\(name) \(input.path.quotedForDisplay)"
      }
      if let file = input.place.file(linkedAs: output.place) {
        return "is another name of \(file.quotedForDisplay) in the input\(name) "
          + input.path.quotedForDisplay
      }
    case .data:
      if let conflict = conflict(output, withData: input) { return conflict }
    }
    switch output.kind {
    case .bundle where output.place.holds(input.place):
      return "would replace the input\(name) \(input.path.quotedForDisplay)"
    case .files(let patterns), .cache(let patterns):
      guard let folder = input.place.parent, folder.isSame(as: output.place),
        patterns.contains(where: { FilePattern($0).matches(input.place.name) })
      else { return nil }
      return "would overwrite the input\(name) \(input.path.quotedForDisplay)"
    default: return nil
    }
  }

  /// Conflicts with a data set: its folders are classes, unless it contains tensors or batches, which are
  /// then its files.
  private static func conflict(
    _ output: Entry<Output>, withData input: Entry<Input>
  ) -> String? {
    let data = input.place
    guard data.holds(output.place) else { return nil }
    let names = (try? FileManager.default.contentsOfDirectory(atPath: data.path)) ?? []
    func isRead(_ name: String) -> Bool { name.hasSuffix(".npy") || name.hasSuffix(".bin") }
    let isDirectlyInside = output.place.parent?.isSame(as: data) ?? false
    let reads: Bool
    if case .file = output.kind, isDirectlyInside {
      reads = isRead(output.place.name)
    } else {
      reads = !names.contains(where: isRead)
    }
    let name = input.name.isEmpty ? "" : " \(input.name)"
    return reads ? "is inside the data\(name) \(input.path.quotedForDisplay)" : nil
  }

  private static func conflict(_ output: Entry<Output>, _ other: Entry<Output>) -> String? {
    if output.place.isSame(as: other.place) {
      if let own = output.patterns, let others = other.patterns {
        guard own.contains(where: { pattern in others.contains { pattern.overlaps($0) } })
        else { return nil }
        return "is the folder of \(other.name), and files of both have the same names"
      }
      return "is also the output \(other.name)"
    }
    return inside(output, other).map { "\($0) \(other.name)" }
      ?? inside(other, output).map { _ in "conflicts with the output \(other.name)" }
  }

  /// The conflict if `inner` is inside `outer`; otherwise nil.
  private static func inside(_ inner: Entry<Output>, _ outer: Entry<Output>) -> String? {
    guard outer.place.holds(inner.place) else { return nil }
    guard let patterns = outer.patterns else { return "is inside the output" }
    guard let folder = inner.place.parent, folder.isSame(as: outer.place),
      patterns.contains(where: { $0.matches(inner.place.name) })
    else { return nil }
    return "is a file of the output"
  }
}

extension PathUses.Entry<PathUses.Output> {
  /// The file names of a folder output; nil for a file and a bundle.
  fileprivate var patterns: [FilePattern]? {
    switch kind {
    case .file, .bundle: nil
    case .files(let names), .cache(let names): names.map(FilePattern.init)
    }
  }
}

/// A file name pattern with at most one `*`.
private struct FilePattern {
  private let start: String
  /// What follows the `*`; nil if there is none.
  private let end: String?

  init(_ text: String) {
    let parts = text.split(separator: "*", maxSplits: 1, omittingEmptySubsequences: false)
    start = String(parts[0])
    end = parts.count > 1 ? String(parts[1]) : nil
  }

  func matches(_ name: String) -> Bool {
    guard let end else { return name == start }
    return name.utf8.count >= start.utf8.count + end.utf8.count && name.hasPrefix(start)
      && name.hasSuffix(end)
  }

  /// Whether there is a name that both match.
  func overlaps(_ other: FilePattern) -> Bool {
    guard let end else { return other.matches(start) }
    guard let otherEnd = other.end else { return matches(other.start) }
    return (start.hasPrefix(other.start) || other.start.hasPrefix(start))
      && (end.hasSuffix(otherEnd) || otherEnd.hasSuffix(end))
  }
}
