// The targets that a bundle can be compiled for: the code generator's type under a public name.

import GraftCodegen

/// A CPU that kernels are generated for.
public typealias CompilationTarget = GraftCodegen.Target
