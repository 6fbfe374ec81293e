// The file names of a bundle and the version of its format. docs/bundle-format.md describes each file.

/// The files of a bundle and the version of their format.
public enum BundleLayout {
  /// Readers reject another major version; minor versions only add keys and files.
  public static let formatMajor = 1
  public static let formatMinor = 9

  public static let manifest = "manifest.json"
  /// The manifest's SHA-256 in hexadecimal.
  public static let manifestDigest = "manifest.sha256"
  /// The imported graph, with shapes folded, in the IR's text form.
  public static let graph = "graph.ir"
  /// The parameters of `graph.ir`, in the element types of the imported file.
  public static let weights = "weights.safetensors"

  /// The graph of a program, counted from 0: `graph.ir`, `graph-2.ir` and so on.
  static func graph(ofProgram index: Int) -> String {
    index == 0 ? graph : "graph-\(index + 1).ir"
  }

  /// The parameters of a program's graph that are not those of ``weights``: constants that were folded from its
  /// shapes. The first program has none.
  static func ownWeights(ofProgram index: Int) -> String { "weights-\(index + 1).safetensors" }

  /// The ranges of the values of a network on bytes, as JSON.
  public static let ranges = "ranges.json"
  /// The parameters as the kernels read them.
  public static let packed = "packed.bin"
  public static let library = "libmodel.so"
  /// The frozen weights and initial state of the training step, in a bundle that trains.
  public static let trainingWeights = "train.bin"
  public static let trainingLibrary = "libtrain.so"
  public static let trainingHeader = "graft_train.h"

  /// The maximum size of a manifest in bytes; only labels and names can make it large.
  static let largestManifest = 64 << 20
}
