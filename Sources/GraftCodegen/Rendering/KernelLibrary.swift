// The kernels of one model, each distinct specialization once, with a descriptive name.

import GraftDiagnostics

/// One rendered C function with the helpers that only it uses.
struct Kernel: Hashable {
  /// The C function's name.
  var name: String
  var definition: String
  /// Algorithm and tile, for a comment at each call.
  var algorithm: String

  /// The prototype, cut out of the definition.
  func declaration() throws -> String {
    guard let start = definition.range(of: "\nvoid \(name)("),
      let end = definition[start.lowerBound...].range(of: " {")
    else {
      throw GraftError(.inconsistency, "kernel \(name) has no definition of that name")
    }
    return definition[start.lowerBound..<end.lowerBound].dropFirst() + ";"
  }
}

/// Collects kernels; equal ones become one.
///
/// A class, since the rendering that it calls reads the lowering that owns it.
final class KernelLibrary {
  private(set) var kernels: [Kernel] = []
  private var names: Set<String> = []
  /// Kernels by what they were rendered as under their base name.
  private var byRendering: [Kernel: Kernel] = [:]

  /// Renders a kernel unless an equal one is there already.
  ///
  /// Names encode the main properties of kernels; a different kernel with the same name gets a number as a
  /// suffix.
  func add(
    _ baseName: String, algorithm: String, render: (_ name: String) throws -> String
  ) throws -> Kernel {
    let rendering = Kernel(
      name: baseName, definition: try render(baseName), algorithm: algorithm)
    if let present = byRendering[rendering] { return present }
    var kernel = rendering
    var attempt = 1
    while !names.insert(kernel.name).inserted {
      attempt += 1
      kernel.name = "\(baseName)_v\(attempt)"
    }
    if attempt > 1 { kernel.definition = try render(kernel.name) }
    byRendering[rendering] = kernel
    kernels.append(kernel)
    return kernel
  }
}
