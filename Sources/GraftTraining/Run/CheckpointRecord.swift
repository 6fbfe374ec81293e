// The record of a run in its checkpoint: input and output paths, options, and an inventory of the data. A run
// continues from a checkpoint only if these agree, which is checked before any work.

import Foundation
import Graft
import GraftData
import GraftDiagnostics

/// The record of a run in its checkpoint's folder, as versioned JSON.
public struct CheckpointRecord: Codable, Sendable, Equatable {
  /// The files of a data set.
  struct Inventory: Codable, Sendable, Equatable {
    var items: Int
    /// Bytes of each file by its name in the folder.
    var files: [String: Int]
  }

  static let version = 1
  static let fileName = "run.json"

  var version = Self.version
  var tool = GraftVersion.tool
  /// The absolute path of the input bundle, and its digest.
  public internal(set) var bundle: String
  var bundleDigest: String
  /// The absolute path of the output bundle.
  public internal(set) var output: String
  /// The values of ``FineTuningOption/all`` by name, paths absolute.
  var options: [String: String]
  var data: Inventory
  var validation: Inventory?
  var teacherDigest: String?
  /// The last good epoch of a run that diverged.
  var divergedAfter: Int?

  enum CodingKeys: String, CodingKey {
    case version, tool, bundle, output, options, data, validation
    case bundleDigest = "bundle_digest"
    case teacherDigest = "teacher_digest"
    case divergedAfter = "diverged_after"
  }

  init(_ plan: RunPlan, output: String) throws {
    bundle = plan.path.absolutePath
    bundleDigest = Self.digest(of: plan.bundle)
    self.output = output.absolutePath
    options = FineTuningOption.record(of: plan.options)
    for option in FineTuningOption.all {
      switch option.form {
      case .file, .folder: options[option.name] = options[option.name].map(\.absolutePath)
      default: break
      }
    }
    data = Inventory(plan.whole)
    validation = plan.validation.map(Inventory.init)
    teacherDigest = plan.teacher.map { Self.digest(of: $0.bundle) }
  }

  /// Reads the record from a checkpoint's folder.
  /// - Throws: ``GraftError`` if there is no checkpoint, or none of this version.
  public init(of folder: String) throws {
    let checkpoint = Checkpoint(folder: folder)
    let location = SourceLocation(file: folder)
    guard checkpoint.exists else {
      throw GraftError(.invalidData, "there is no checkpoint to resume", at: location)
    }
    struct Version: Decodable { var version: Int }
    let decoder = JSONDecoder()
    guard let text = FileManager.default.contents(atPath: checkpoint.recordFile),
      let found = try? decoder.decode(Version.self, from: text)
    else {
      throw GraftError(
        .invalidData, "the checkpoint has no readable record of its run", at: location,
        advice: "Start a new run with --overwrite.")
    }
    guard found.version == Self.version else {
      throw GraftError(
        .invalidData,
        "the checkpoint's record has version \(found.version), and this Graft reads \(Self.version)",
        at: location,
        advice:
          "Continue with the version of Graft that wrote it, or start a new run with --overwrite.")
    }
    guard let own = try? decoder.decode(Self.self, from: text) else {
      throw GraftError(
        .invalidData, "the checkpoint's record is damaged", at: location,
        advice: "Start a new run with --overwrite.")
    }
    self = own
  }

  /// The options of the run.
  /// - Throws: ``GraftError`` of kind `invalidData` if they are invalid.
  public func recordedOptions(in folder: String) throws -> FineTuner.Options {
    do {
      if let name = options.keys.sorted().first(where: { FineTuningOption.named($0) == nil }) {
        throw GraftError(.invalidData, "unknown option --\(name.escapedForDisplay)")
      }
      let own = try FineTuningOption.options(of: options, over: FineTuner.Options(data: ""))
      try own.validate()
      return own
    } catch let error as GraftError {
      throw GraftError(
        .invalidData, "the checkpoint's record: \(error.message)", at: SourceLocation(file: folder))
    }
  }

  /// Whether the folder is kept after the run.
  var isKept: Bool { options["checkpoint"] != nil }

  /// Compares with a run that continues from this checkpoint.
  /// - Throws: ``GraftError`` of kind `invalidArgument` that names every option that differs, or of kind
  ///   `invalidData` that says how the input files changed.
  func check(_ current: CheckpointRecord, in folder: String) throws {
    let location = SourceLocation(file: folder)
    let changes = FineTuningOption.all.compactMap { option -> String? in
      switch option.role {
      case .identity: break
      case .rate where divergedAfter == nil: break
      default: return nil
      }
      let (old, new) = (options[option.name], current.options[option.name])
      guard old != new else { return nil }
      func text(_ value: String?) -> String {
        option.form == .flag
          ? (value == nil ? "off" : "on") : value?.escapedForDisplay ?? "not given"
      }
      return "--\(option.name) was \(text(old)) in the checkpoint, is \(text(new)) now"
    }
    guard changes.isEmpty else {
      throw GraftError(
        .invalidArgument, changes.joined(separator: "; "), at: location,
        advice:
          "Omit the options that differ: --resume uses those of the checkpoint. Or start a new run "
          + "with --overwrite.")
    }
    func refuse(_ message: String) -> GraftError {
      GraftError(
        .invalidData, message, at: location,
        advice: "Restore the original inputs, or start a new run with --overwrite.")
    }
    guard bundleDigest == current.bundleDigest else {
      throw refuse(
        "the checkpoint is from a run on another bundle (\(bundle.quotedForDisplay))")
    }
    guard teacherDigest == current.teacherDigest else {
      throw refuse("the teacher is not that of the checkpoint")
    }
    if let change = data.change(to: current.data) { throw refuse("--data changed: \(change)") }
    switch (validation, current.validation) {
    case (nil, nil): break
    case (let old?, let new?):
      if let change = old.change(to: new) { throw refuse("--val changed: \(change)") }
    case (nil, _): throw refuse("--val was not given in the checkpoint, but is now")
    case (_, nil): throw refuse("--val was given in the checkpoint, but is not now")
    }
  }

  /// The SHA-256 of the files on which a bundle's network depends.
  private static func digest(of bundle: ModelBundle) -> String {
    let files = bundle.manifest.files.filter { !RunRecords.Name.isRecord($0.key) }
      .sorted { $0.key < $1.key }.map { "\($0.key) \($0.value.sha256)" }
    return Digest.sha256(Data(files.joined(separator: "\n").utf8))
  }
}

extension CheckpointRecord.Inventory {
  /// The image files and those of their targets, or the tensor and batch files directly in the folder.
  init(_ dataset: any Dataset) {
    items = dataset.count
    files = [:]
    func add(_ name: String, _ path: String) -> Bool {
      var status = stat()
      guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return false }
      // File systems differ in the Unicode normalization form of names.
      files[name.precomposedStringWithCanonicalMapping] = Int(status.st_size)
      return true
    }
    for index in 0..<dataset.count {
      let (path, target) = (dataset.path(of: index), dataset.targetPath(of: index))
      guard add(dataset.name(of: index), path) else { break }
      if target != path { _ = add(String(target.dropFirst(dataset.location.count + 1)), target) }
    }
    guard files.isEmpty else { return }
    let names = (try? FileManager.default.contentsOfDirectory(atPath: dataset.location)) ?? []
    for name in names where name.hasSuffix(".npy") || name.hasSuffix(".bin") {
      _ = add(name, ModelBundle.join(dataset.location, name))
    }
  }

  /// A description of the differences to `other`; nil if there are none.
  func change(to other: Self) -> String? {
    func list(_ names: [String], _ what: String) -> String? {
      guard !names.isEmpty else { return nil }
      let some = names.sorted().prefix(3).map(\.quotedForDisplay).joined(separator: ", ")
      return "\(names.count) \(names.count == 1 ? "file" : "files") \(what): \(some)"
        + (names.count > 3 ? ", …" : "")
    }
    let changes = [
      list(files.keys.filter { other.files[$0] == nil }, "gone"),
      list(other.files.keys.filter { files[$0] == nil }, "new"),
      list(
        files.keys.filter { name in
          other.files[name].map { $0 != files[name] } ?? false
        }, "with another size"),
      items == other.items ? nil : "\(other.items) items instead of \(items)",
    ].compactMap { $0 }
    return changes.isEmpty ? nil : changes.joined(separator: "; ")
  }
}

extension String {
  /// The path from the root.
  fileprivate var absolutePath: String {
    hasPrefix("/") ? self : ModelBundle.join(FileManager.default.currentDirectoryPath, self)
  }
}
