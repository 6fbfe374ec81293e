// The file names of a bundle and the version of its format. docs/bundle-format.md describes each file.

/// The files of a bundle and the version of their format.
public enum BundleLayout {
  /// Readers reject another major version; minor versions only add keys and files.
  public static let formatMajor = 1
  public static let formatMinor = 8

  public static let manifest = "manifest.json"
  /// The manifest's SHA-256 in hexadecimal.
  public static let manifestDigest = "manifest.sha256"
  /// The imported graph, with shapes folded, in the IR's text form.
  public static let graph = "graph.ir"
  /// The parameters of `graph.ir`, in the element types of the imported file.
  public static let weights = "weights.safetensors"
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
