// The machines that a bundle can be compiled for: the code generator's type under the library's name.

import GraftCodegen

/// A processor that a bundle's kernels are generated for.
public typealias CompilationTarget = GraftCodegen.Target
