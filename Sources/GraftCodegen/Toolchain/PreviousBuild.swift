// Reuse of a previous build: its kernels are in separate files, whose objects can be linked again.

import Foundation
import GraftDiagnostics

/// A folder with the sources and objects of a model's library from the same version of Graft, compiler and
/// target. The caller must check this, and that the files are undamaged.
public struct PreviousBuild: Sendable {
  private let folder: String
  /// The C files and headers, by name.
  private let texts: [String: String]

  /// - Parameter names: the files of the folder that belong to the build.
  /// - Throws: ``GraftError`` of kind `inputOutput` if one cannot be read.
  public init(folder: String, names: [String]) throws {
    self.folder = folder
    var texts: [String: String] = [:]
    for name in names where name.hasSuffix(".c") || name.hasSuffix(".h") {
      let path = folder + "/" + name
      do {
        texts[name] = String(
          decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
      } catch {
        throw GraftError(
          .inputOutput, "cannot be read: \(error.localizedDescription)",
          at: SourceLocation(file: path))
      }
    }
    self.texts = texts
  }

  /// The files that contain at least one of `kernels` unchanged, and no other version of one.
  func kernelFiles(for kernels: [Kernel]) -> [SourceFile] {
    texts.keys.filter { Self.number(of: $0) != nil }
      .sorted { (Self.number(of: $0) ?? 0) < (Self.number(of: $1) ?? 0) }
      .compactMap { name in
        guard let text = texts[name] else { return nil }
        let file = SourceFile(name: name, text: text, role: .kernel)
        let known = kernels.filter { text.contains("\nvoid \($0.name)(") }
        guard !known.isEmpty, known.allSatisfy(file.holds) else { return nil }
        return file
      }
  }

  /// The number of a file of kernels; nil for any other file.
  static func number(of name: String) -> Int? {
    guard name.hasPrefix("kernels_"), name.hasSuffix(".c") else { return nil }
    return Int(name.dropFirst(8).dropLast(2))
  }

  /// The path of the object of `source`, if the source and its includes are unchanged.
  func object(named name: String, of source: SourceFile, in model: GeneratedModel) -> String? {
    let path = folder + "/" + name
    guard texts[source.name] == source.text,
      model.sources.allSatisfy({ $0.role != .header || texts[$0.name] == $0.text }),
      FileManager.default.isReadableFile(atPath: path)
    else { return nil }
    return path
  }
}

extension SourceFile {
  /// Whether this file contains exactly this kernel.
  func holds(_ kernel: Kernel) -> Bool { text.contains(kernel.definition) }
}
