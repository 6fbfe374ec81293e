// The version in bundles, `graft --version` and exported files.

public enum GraftVersion {
  public static let current = "0.1.0"
  /// The tool name in manifests and exported ONNX files.
  public static let tool = "graft \(current)"
}
