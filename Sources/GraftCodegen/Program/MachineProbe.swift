// A library that only measures the machine.

/// Generates the library whose functions find out what a core can do at most.
public enum MachineProbe {
  /// `size_t (size_t rounds, float factor, float *sum)`: the multiply-adds that it did.
  public static let multiplyAdds = "graft_machine_multiply_adds"
  /// The same with products of bytes, as in networks on bytes.
  public static let byteProducts = "graft_machine_byte_products"
  /// The same with products of bfloat16.
  public static let halfProducts = "graft_machine_half_products"
  /// `size_t (const float *from, size_t count, float *sum)`: the bytes that it read.
  public static let read = "graft_machine_read"

  /// The library's source, for ``Toolchain/compile(_:into:reusing:jobs:extraFlags:)``.
  public static func generate(for target: Target) throws -> GeneratedModel {
    let header = SourceFile(
      name: "kernels.h", text: try ModelWriter.kernelsHeader(for: target), role: .header)
    let text = try Templates.machine.render(["target": target.name])
    return GeneratedModel(
      target: target,
      sources: [header, SourceFile(name: "machine.c", text: text, role: .kernel)],
      packed: PackedWeights(), buildID: [], programs: [], libraryName: "libmachine.so")
  }
}

extension Templates {
  static let machine = Template("machine.c", PackageResources.machine_c_in)
}
