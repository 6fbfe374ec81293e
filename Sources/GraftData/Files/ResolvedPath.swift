// Canonical paths without links, dots and double slashes, also for files that do not exist yet, for
// comparisons.

import Foundation

/// An absolute path without symbolic links.
struct ResolvedPath: Sendable {
  let path: String

  private init(resolved: String) { path = resolved }

  /// Resolves links; components that do not exist are kept.
  init(_ path: String) {
    var rest = path.split(separator: "/").map(String.init)
    if !path.hasPrefix("/") {
      rest = FileManager.default.currentDirectoryPath.split(separator: "/").map(String.init) + rest
    }
    rest.reverse()
    var done: [String] = []
    // The limit of Linux.
    var links = 40
    while let component = rest.popLast() {
      switch component {
      case ".": continue
      case "..": _ = done.popLast()
      default:
        let next = "/" + (done + [component]).joined(separator: "/")
        guard links > 0,
          let target = try? FileManager.default.destinationOfSymbolicLink(atPath: next)
        else {
          done.append(component)
          continue
        }
        links -= 1
        if target.hasPrefix("/") { done = [] }
        rest += target.split(separator: "/").map(String.init).reversed()
      }
    }
    self.path = "/" + done.joined(separator: "/")
  }

  /// The last component.
  var name: String { path.split(separator: "/").last.map(String.init) ?? "" }

  /// The parent folder; nil for the root.
  var parent: ResolvedPath? {
    guard path != "/", let slash = path.lastIndex(of: "/") else { return nil }
    return ResolvedPath(resolved: slash == path.startIndex ? "/" : String(path[..<slash]))
  }

  var exists: Bool { identity != nil }

  /// Device and inode: hard links, bind mounts and file systems that ignore case give one file several
  /// names.
  private var identity: [UInt64]? {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    return [UInt64(status.st_dev), UInt64(status.st_ino)]
  }

  func isSame(as other: ResolvedPath) -> Bool {
    if path == other.path { return true }
    guard let own = identity else { return false }
    return own == other.identity
  }

  /// The name of a file in this bundle folder that is a hard link of `other`.
  func file(linkedAs other: ResolvedPath) -> String? {
    var status = stat()
    guard stat(other.path, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_nlink > 1
    else { return nil }
    let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    return names.sorted().first {
      ResolvedPath(resolved: "\(path)/\($0)").isSame(as: other)
    }
  }

  /// Whether `other` is below this folder.
  func holds(_ other: ResolvedPath) -> Bool {
    var above = other.parent
    while let folder = above {
      if isSame(as: folder) { return true }
      above = folder.parent
    }
    return false
  }
}
