// A library that only measures the machine.

/// Generates the library whose two functions find out what a core can do at most.
public enum MachineProbe {
  /// `size_t (size_t rounds, float factor, float *sum)`: the multiply-adds that it did.
  public static let multiplyAdds = "graft_machine_multiply_adds"
  /// `size_t (const float *from, size_t count, float *sum)`: the bytes that it read.
  public static let read = "graft_machine_read"

  /// The library's source, for ``Toolchain/compile(_:into:reusing:jobs:extraFlags:)``.
  public static func generate(for target: Target) throws -> GeneratedModel {
    let text = try Templates.machine.render([
      "target": target.name, "lanes": "\(target.lanes)", "vector_bytes": "\(target.lanes * 4)",
    ])
    return GeneratedModel(
      target: target, sources: [SourceFile(name: "machine.c", text: text, role: .kernel)],
      packed: PackedWeights(), buildID: [], programs: [], libraryName: "libmachine.so")
  }
}

extension Templates {
  static let machine = Template("machine.c", PackageResources.machine_c_in)
}
