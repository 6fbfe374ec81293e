// The targets that a bundle can be compiled for: the code generator's type under a public name.

import GraftCodegen

/// A CPU that kernels are generated for.
public typealias CompilationTarget = GraftCodegen.Target

extension CompilationTarget {
  /// The best target that this machine can run for layers of a precision.
  public static func native(for precision: Precision) -> Self {
    precision == .float32 ? .native : .nativeForNarrowTypes
  }
}
