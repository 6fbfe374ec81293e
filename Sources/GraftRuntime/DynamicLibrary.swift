// Loading of shared libraries. The meaning of symbols is up to the callers.

import Foundation
import GraftDiagnostics

/// A library that stays loaded as long as this object lives.
final class DynamicLibrary {
  private let handle: UnsafeMutableRawPointer
  private let path: String

  /// - Parameter path: absolute, or relative to the working directory; never searched for.
  /// - Throws: ``GraftError`` of kind `invalidBundle` if its headers are damaged, or with the loader's
  ///   message.
  init(path: String) throws {
    let full = path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
    _ = try LibraryFile(checking: full)
    guard let handle = dlopen(full, RTLD_NOW | RTLD_LOCAL) else {
      let reason = dlerror().map { String(cString: $0) } ?? "no reason given"
      throw GraftError(
        .invalidBundle, "\(path.quotedForDisplay) cannot be loaded: \(reason)",
        advice: "Recompile the model for this machine.")
    }
    self.handle = handle
    self.path = path
  }

  deinit { dlclose(handle) }

  /// The address of the exported symbol `name`.
  func symbol(_ name: String) throws -> UnsafeMutableRawPointer {
    guard let symbol = dlsym(handle, name) else {
      throw GraftError(.invalidBundle, "\(path.quotedForDisplay) does not export \(name)")
    }
    return symbol
  }

  /// The error of an unknown interface version.
  func hasAnotherVersion(than version: UInt32) -> GraftError {
    GraftError(
      .invalidBundle,
      "\(path.quotedForDisplay) has another version of the interface than \(version)",
      advice: "Recompile the model with this version of Graft.")
  }
}
