// The version that bundles, `graft --version` and exported files name.

public enum GraftVersion {
  public static let current = "0.1.0"
  /// As manifests and exported ONNX files name the tool.
  public static let tool = "graft \(current)"
}
