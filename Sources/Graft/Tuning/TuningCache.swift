// The cache of tuning results, so that a convolution is measured only once per machine: one JSON file per
// context.

import Foundation
import GraftCodegen
import GraftData
import GraftDiagnostics

/// Cached tuning results.
struct TuningCache {
  /// The context of a measurement, except the convolution.
  struct Context: Codable, Hashable {
    var tool: String
    var compiler: String
    var cpu: String
    var target: String
    var threads: Int
    /// Whether `--compact` was used.
    var isCompact: Bool
  }

  private struct Entry: Codable {
    var variant: ConvolutionVariant
    var effort: Tuning
  }

  private struct Contents: Codable {
    var context: Context
    var sites: [String: Entry]
  }

  /// Nil if there is no cache folder.
  let path: String?
  private let context: Context
  private var sites: [String: Entry] = [:]
  /// The error, if any; tuning continues without a cache.
  private(set) var warning: Warning?

  /// Reads the results for `context`.
  init(_ context: Context, environment: [String: String] = ProcessInfo.processInfo.environment) {
    self.context = context
    path = Self.folder(environment).map { folder in
      let name = Digest.sha256(Data("\(context)".utf8)).prefix(16)
      return "\(folder)/tuning-\(name).json"
    }
    load()
  }

  /// $XDG_CACHE_HOME/graft, or ~/.cache/graft where that is not set to an absolute path (XDG Base Directory
  /// Specification 0.8).
  static func folder(
    _ environment: [String: String] = ProcessInfo.processInfo.environment
  ) -> String? {
    for (name, inside) in [("XDG_CACHE_HOME", "/graft"), ("HOME", "/.cache/graft")] {
      if let base = environment[name], base.hasPrefix("/") { return base + inside }
    }
    return nil
  }

  private mutating func load() {
    guard let path, FileManager.default.fileExists(atPath: path) else { return }
    guard let data = try? Data(contentsOf: URL(fileURLWithPath: path)),
      let contents = try? JSONDecoder().decode(Contents.self, from: data)
    else {
      warning = Warning("the tuning cache cannot be read and is recreated", at: .init(file: path))
      return
    }
    if contents.context == context { sites = contents.sites }
  }

  /// The cached result for `site` from measurements of at least this effort.
  func variant(at site: ConvolutionSite, effort: Tuning) -> ConvolutionVariant? {
    guard let entry = sites[site.description], effort.accepts(entry.effort) else { return nil }
    return entry.variant
  }

  /// Adds results to the file, which other processes may have changed. An error of writing becomes a warning.
  mutating func add(_ found: [ConvolutionSite: ConvolutionVariant], effort: Tuning) {
    guard let path, !found.isEmpty else { return }
    load()
    for (site, variant) in found {
      sites[site.description] = Entry(variant: variant, effort: effort)
    }
    do {
      try makeFolder(URL(fileURLWithPath: path).deletingLastPathComponent().path)
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
      let data = try encoder.encode(Contents(context: context, sites: sites))
      try FileReplacement(at: path).write(Array(data))
    } catch {
      let cause = (error as? GraftError)?.message ?? error.localizedDescription
      warning = Warning("the tuning cache cannot be written: \(cause)", at: .init(file: path))
    }
  }
}
