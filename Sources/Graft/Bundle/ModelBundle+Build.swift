// What a bundle keeps of its build, for one that is like it.

import GraftCodegen
import GraftDiagnostics

extension ModelBundle {
  /// The sources and objects of the bundle's library, if `toolchain` would produce the same objects.
  /// - Throws: ``GraftError`` of kind `invalidBundle` that names a damaged file.
  func build(
    by toolchain: Toolchain, for target: CompilationTarget
  ) throws -> PreviousBuild? {
    guard manifest.tool == GraftVersion.tool, manifest.compiler == toolchain.version,
      manifest.target
        == Manifest.Target(
          name: target.name, features: target.requiredFeatures, lanes: target.lanes)
    else { return nil }
    let names = manifest.files.keys.filter {
      !$0.hasPrefix("train") && [".c", ".h", ".o"].contains($0.suffix(2))
    }.sorted()
    try checkDigests(of: names)
    return try PreviousBuild(folder: path, names: names)
  }
}
