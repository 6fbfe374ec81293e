// Creating folders with descriptive errors.

import Foundation
import GraftDiagnostics

/// Creates a folder and missing ancestors; it may exist already.
/// - Throws: ``GraftError`` of kind `inputOutput`.
public func makeFolder(_ path: String) throws {
  var missing: [ResolvedPath] = []
  var place: ResolvedPath? = ResolvedPath(path)
  while let folder = place, !folder.exists {
    missing.append(folder)
    place = folder.parent
  }
  for folder in missing.reversed() where mkdir(folder.path, 0o755) != 0 && errno != EEXIST {
    throw systemError(errno, "cannot be created", path)
  }
  var status = stat()
  guard stat(path, &status) == 0 else { throw systemError(errno, "cannot be created", path) }
  guard status.st_mode & S_IFMT == S_IFDIR else {
    throw systemError(ENOTDIR, "cannot be created", path)
  }
}
