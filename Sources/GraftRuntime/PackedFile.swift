// Checks packed.bin against the library that reads it, without loading the library.

import GraftDiagnostics
import GraftIR

/// The header of a file of packed weights.
public struct PackedFile {
  /// The build id, which the library and its weights share.
  public let buildID: [UInt8]
  /// The number of programs of the library, each of which names the build.
  public let programCount: Int

  private static let magic = Array("GRAFTPK\n".utf8)
  private static let headerBytes = 64

  /// - Parameter library: the library of the same bundle. Its description contains the build id, followed by
  ///   the number of bytes that it expects (`graft_description` in graft.h).
  /// - Throws: ``GraftError`` of kind `invalidBundle` if the file is not packed weights, or those of another
  ///   library.
  public init(checking path: String, against library: LibraryFile) throws {
    let file = try MappedFile(path, following: false)
    func damaged(_ message: String) -> GraftError {
      GraftError(
        .invalidBundle, message, at: SourceLocation(file: path), advice: "Recompile the model.")
    }
    guard file.count >= Self.headerBytes else {
      throw damaged("has \(file.count) bytes, its header alone has \(Self.headerBytes)")
    }
    let header = file.withUnsafeBytes { Array($0.prefix(Self.headerBytes)) }
    guard header.starts(with: Self.magic) else {
      throw damaged("does not begin as packed weights do")
    }
    buildID = Array(header[16..<48])
    guard library.count(of: buildID) > 0 else {
      throw damaged("belongs to another build than \(library.path.quotedForDisplay)")
    }
    let bytes = withUnsafeBytes(of: UInt64(file.count).littleEndian) { Array($0) }
    programCount = library.count(of: buildID + bytes)
    guard programCount > 0 else {
      throw damaged(
        "has \(file.count) bytes, which is not what \(library.path.quotedForDisplay) expects")
    }
  }
}
