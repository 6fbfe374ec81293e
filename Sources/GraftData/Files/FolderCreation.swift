// Making folders with errors that name them in the system's own words.

import Foundation
import GraftDiagnostics

/// Makes a folder, and those above it that are missing; one that is there already is as good.
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
