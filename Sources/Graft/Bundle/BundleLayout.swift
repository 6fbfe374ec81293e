// The names of the files in a bundle and the version of its format, in one place.
// docs/bundle-format.md describes each file.

/// The files of a bundle and the version of their format.
public enum BundleLayout {
  /// A reader refuses another major version; a minor one only adds.
  public static let formatMajor = 1
  public static let formatMinor = 6

  public static let manifest = "manifest.json"
  /// The manifest's own SHA-256 in hexadecimal, since the manifest cannot hold it.
  public static let manifestDigest = "manifest.sha256"
  /// The graph as imported and shape-folded, in the IR's text form.
  public static let graph = "graph.ir"
  /// The parameters of `graph.ir`, in the file's own element types.
  public static let weights = "weights.safetensors"
  /// The parameters as the kernels read them.
  public static let packed = "packed.bin"
  public static let library = "libmodel.so"
  /// What a training step reads and starts from, in a bundle that trains.
  public static let trainingWeights = "train.bin"
  public static let trainingLibrary = "libtrain.so"
  public static let trainingHeader = "graft_train.h"

  /// A bundle's manifest may not be larger: labels and names are all that grows in it.
  static let largestManifest = 64 << 20
}
