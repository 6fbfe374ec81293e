// Tensors in NumPy files, by name.

import Foundation
import GraftData
import GraftDiagnostics

/// Reads and writes sets of tensors as .npy files.
public enum TensorFiles {
  /// - Parameter paths: a file for each name.
  /// - Throws: ``GraftError`` that names the file.
  public static func read(_ paths: [String: String]) throws -> [String: Tensor] {
    try paths.mapValues { path in
      let array = try NPYArray(contentsOf: path)
      return try Tensor(array.element, shape: array.shape, bytes: array.bytes)
    }
  }

  /// Writes every tensor as `folder`/NAME.npy; characters that are invalid in file names are percent-encoded.
  /// - Throws: ``GraftError`` that names the file.
  public static func write(_ tensors: [String: Tensor], to folder: String) throws {
    try DirectoryReplacement.fill(folder) { try writeFiles(tensors, into: $0) }
  }

  private static func writeFiles(_ tensors: [String: Tensor], into folder: String) throws {
    for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
      try FileReplacement(at: ModelBundle.join(folder, TensorFileName.npy(name))).write(
        try NPYArray(element: tensor.dtype, shape: tensor.shape, bytes: tensor.bytes).encoded())
    }
  }

  /// The names of the files that ``write(_:to:)`` writes for these tensors.
  public static func names(of tensors: [String]) -> [String] { tensors.map(TensorFileName.npy) }
}
