// Tensors in NumPy files, by name.

import Foundation
import GraftData
import GraftDiagnostics

/// Reads and writes sets of tensors as .npy files.
public enum TensorFiles {
  /// - Parameter paths: a file for each name.
  /// - Throws: ``GraftError`` naming the file.
  public static func read(_ paths: [String: String]) throws -> [String: Tensor] {
    try paths.mapValues { path in
      let array = try NPYArray(contentsOf: path)
      return try Tensor(shape: array.shape, elements: array.floats())
    }
  }

  /// Writes every tensor as `folder`/NAME.npy, where what a file name cannot hold is percent-encoded.
  /// - Throws: ``GraftError`` naming the file.
  public static func write(_ tensors: [String: Tensor], to folder: String) throws {
    try makeFolder(folder)
    for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
      try FileReplacement(at: ModelBundle.join(folder, TensorFileName.npy(name))).write(
        try NPYArray(tensor.elements, shape: tensor.shape).encoded())
    }
  }

  static func makeFolder(_ folder: String) throws {
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch {
      throw GraftError(
        .inputOutput, "the folder cannot be made", at: SourceLocation(file: folder))
    }
  }
}
