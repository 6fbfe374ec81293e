// Writing packed weights to a file.

import GraftCodegen
import GraftData
import GraftIR

extension PackedWeights {
  /// - Parameter graphs: the graphs whose parameters are packed; the pages of their files are released after each
  ///   large section, because what it was packed from is not read again soon.
  /// - Throws: ``GraftError`` that names the file, or the parameter without data.
  func write(to path: String, from graphs: [Graph] = []) throws {
    let file = try OutputFile(path)
    try write {
      try file.write($0)
      if $0.count > 1 << 20 { for graph in graphs { graph.releaseWeightPages() } }
    }
    try file.close()
  }
}
