// The entries of a folder in code-point order, with links followed. Names that are not UTF-8 are only
// counted, because messages could not show them.

import Glibc
import GraftDiagnostics

struct FolderListing {
  enum Kind {
    case file, folder, other
    /// A dangling or circular link.
    case brokenLink
  }

  struct Entry {
    var name: String
    var kind: Kind
  }

  /// In the order of the names' code points.
  private(set) var entries: [Entry] = []
  private(set) var unreadableNames = 0

  /// - Throws: ``GraftError`` of kind `inputOutput` if there is no such folder.
  init(of path: String) throws {
    guard let folder = opendir(path) else { throw systemError(errno, "cannot be opened", path) }
    defer { closedir(folder) }
    while true {
      errno = 0
      guard let entry = readdir(folder) else {
        guard errno == 0 else { throw systemError(errno, "cannot be read", path) }
        break
      }
      guard let name = Self.name(of: entry) else {
        unreadableNames += 1
        continue
      }
      if name == "." || name == ".." { continue }
      entries.append(Entry(name: name, kind: Self.kind(of: entry, at: path + "/" + name)))
    }
    // UTF-8 keeps the order of code points.
    entries.sort { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
  }

  private static func name(of entry: UnsafeMutablePointer<dirent>) -> String? {
    withUnsafeBytes(of: &entry.pointee.d_name) { raw in
      String(validating: raw.prefix { $0 != 0 }, as: UTF8.self)
    }
  }

  private static func kind(of entry: UnsafeMutablePointer<dirent>, at path: String) -> Kind {
    // Most file systems return the type without another system call.
    switch Int32(entry.pointee.d_type) {
    case Int32(DT_REG): return .file
    case Int32(DT_DIR): return .folder
    default:
      var status = stat()
      guard stat(path, &status) == 0 else { return .brokenLink }
      switch status.st_mode & S_IFMT {
      case S_IFREG: return .file
      case S_IFDIR: return .folder
      default: return .other
      }
    }
  }
}

/// The skipped files of a data set, by kind.
struct StrayFiles {
  private var counts: [Kind: Int] = [:]

  /// The singular and plural name of a kind.
  struct Kind: Hashable {
    var one: String
    var many: String
  }

  mutating func add(_ one: String, _ many: String? = nil, count: Int = 1) {
    if count > 0 { counts[Kind(one: one, many: many ?? one), default: 0] += count }
  }

  /// Counts a file that is not an image by its extension.
  mutating func add(file name: String) {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    let ending = parts.count > 1 ? parts.last ?? "" : ""
    add(ending.isEmpty ? "without extension" : "." + ending.lowercased())
  }

  /// One warning that lists all kinds; empty if there are no such files.
  /// - Parameter what: what the files are not.
  func warning(
    at location: String, of what: String = "JPEG or PNG files of a class"
  ) -> [Warning] {
    guard !counts.isEmpty else { return [] }
    let total = counts.values.reduce(0, +)
    let kinds = counts.sorted { ($1.value, $0.key.many) < ($0.value, $1.key.many) }
    let named = kinds.prefix(12).map {
      "\($0.value) \(($0.value == 1 ? $0.key.one : $0.key.many).escapedForDisplay)"
    }
    let rest = kinds.count > 12 ? ", and \(kinds.count - 12) more kinds" : ""
    let one = what.replacing("files", with: "file")
    return [
      Warning(
        (total == 1
          ? "1 entry is not a \(one) and was " : "\(total) entries are not \(what) and were ")
          + "skipped: \(named.joined(separator: ", "))\(rest)",
        at: SourceLocation(file: location))
    ]
  }
}
