// The targets of code generation: vector width, registers, compiler flags, and the CPU features that a bundle
// requires when it is loaded.

import Foundation
import GraftDiagnostics

/// A processor that kernels can be generated for.
public struct Target: Hashable, Sendable {
  /// The name for `--target`, such as `x86-64-v3`.
  public var name: String
  /// float32 lanes of one vector; also the channels of a channel block.
  public var lanes: Int
  /// Vector registers that a register tile may fill.
  public var registers: Int
  public var hasFusedMultiplyAdd: Bool
  /// Flags that make clang compile kernels for it.
  public var kernelFlags: [String]
  /// Flags for the code that checks the CPU: the baseline of the architecture.
  public var baselineFlags: [String]
  /// The required CPU features, in the spelling of the bundle's runtime.
  public var requiredFeatures: [String]
  /// Bytes of L2 cache per core that blocking may use.
  public var cacheBytes: Int

  /// Haswell, Zen and later: AVX2 and FMA.
  public static let x8664v3 = Target(
    name: "x86-64-v3", lanes: 8, registers: 16, hasFusedMultiplyAdd: true,
    kernelFlags: ["-march=x86-64-v3"], baselineFlags: ["-march=x86-64"],
    requiredFeatures: [
      "sse4.2", "popcnt", "avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe",
    ], cacheBytes: 512 << 10)

  /// Skylake-SP, Zen 4 and later: AVX-512. clang halves 64-byte vectors unless told not to.
  public static let x8664v4 = Target(
    name: "x86-64-v4", lanes: 16, registers: 32, hasFusedMultiplyAdd: true,
    kernelFlags: ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    baselineFlags: ["-march=x86-64"],
    requiredFeatures: x8664v3.requiredFeatures + [
      "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl",
    ], cacheBytes: 1 << 20)

  /// Ice Lake, Zen 4 and later: AVX-512 with sums of four products of bytes (VNNI) and permutations of bytes.
  public static let x8664v4vnni = Target(
    name: "x86-64-v4-vnni", lanes: 16, registers: 32, hasFusedMultiplyAdd: true,
    kernelFlags: x8664v4.kernelFlags + ["-mavx512vnni", "-mavx512vbmi"],
    baselineFlags: x8664v4.baselineFlags,
    requiredFeatures: x8664v4.requiredFeatures + ["avx512vnni", "avx512vbmi"],
    cacheBytes: x8664v4.cacheBytes)

  /// Zen 4, Sapphire Rapids and later: besides, products of bfloat16.
  public static let x8664v4bf16 = Target(
    name: "x86-64-v4-bf16", lanes: 16, registers: 32, hasFusedMultiplyAdd: true,
    kernelFlags: x8664v4vnni.kernelFlags + ["-mavx512bf16"],
    baselineFlags: x8664v4.baselineFlags,
    requiredFeatures: x8664v4vnni.requiredFeatures + ["avx512bf16"],
    cacheBytes: x8664v4.cacheBytes)

  /// Sapphire Rapids and later: besides, products of tiles of bytes and of bfloat16 (AMX).
  public static let x8664v4amx = Target(
    name: "x86-64-v4-amx", lanes: 16, registers: 32, hasFusedMultiplyAdd: true,
    kernelFlags: x8664v4bf16.kernelFlags + ["-mamx-tile", "-mamx-int8", "-mamx-bf16"],
    baselineFlags: x8664v4.baselineFlags,
    requiredFeatures: x8664v4bf16.requiredFeatures + ["amx-tile", "amx-int8", "amx-bf16"],
    cacheBytes: 2 << 20)

  /// Any 64-bit Arm: NEON.
  public static let aarch64 = Target(
    name: "aarch64", lanes: 4, registers: 32, hasFusedMultiplyAdd: true,
    kernelFlags: ["--target=aarch64-linux-gnu", "-march=armv8-a"],
    baselineFlags: ["--target=aarch64-linux-gnu", "-march=armv8-a"],
    requiredFeatures: ["neon"], cacheBytes: 512 << 10)

  /// The baseline of the architecture that Graft itself runs on.
  public static let generic: Target = {
    #if arch(arm64)
      var target = aarch64
      target.name = "generic"
      target.kernelFlags = ["-march=armv8-a"]
      target.baselineFlags = target.kernelFlags
      return target
    #else
      return Target(
        name: "generic", lanes: 4, registers: 16, hasFusedMultiplyAdd: false,
        kernelFlags: ["-march=x86-64"], baselineFlags: ["-march=x86-64"], requiredFeatures: [],
        cacheBytes: 256 << 10)
    #endif
  }()

  /// Whether it is of another architecture, for which clang needs a C library and a linker.
  var isForeign: Bool { !Self.architectureFlags(in: baselineFlags).isEmpty }

  /// The clang arguments for cross-compilation.
  static func architectureFlags(in arguments: [String]) -> [String] {
    arguments.filter { $0.hasPrefix("--target") }
  }

  /// How to install what cross-compilation needs.
  static let foreignAdvice =
    "Compiling for another architecture needs its C library and lld: on Debian, "
    + "apt-get install libc6-dev-arm64-cross libgcc-12-dev-arm64-cross, and lld with Debian's clang."

  /// The names for ``init(named:)``.
  public static let names = [
    "native", "x86-64-v3", "x86-64-v4", "x86-64-v4-vnni", "x86-64-v4-bf16", "x86-64-v4-amx",
    "generic", "aarch64",
  ]

  /// - Throws: ``GraftError`` of kind `invalidArgument` for a name that is not one of ``names``.
  public init(named name: String) throws {
    switch name {
    case "native": self = .native
    case "x86-64-v3": self = .x8664v3
    case "x86-64-v4": self = .x8664v4
    case "x86-64-v4-vnni": self = .x8664v4vnni
    case "x86-64-v4-bf16": self = .x8664v4bf16
    case "x86-64-v4-amx": self = .x8664v4amx
    case "generic": self = .generic
    case "aarch64": self = .aarch64
    default:
      throw GraftError(
        .invalidArgument,
        "unknown target \(name.quotedForDisplay), expected one of "
          + Self.names.joined(separator: ", "))
    }
  }

  /// Whether this machine can run code for the target.
  public var isRunnable: Bool {
    #if arch(arm64)
      return requiredFeatures.allSatisfy { $0 == "neon" }
    #else
      let cpu = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
      return isRunnable(onCPU: cpu)
    #endif
  }

  /// The best target that this machine can run.
  public static let native: Target = {
    #if arch(arm64)
      return aarch64
    #else
      let cpu = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
      return best(forCPU: cpu)
    #endif
  }()

  /// The best target that this machine can run, for networks whose layers compute on bytes or round to bfloat16.
  public static let nativeForNarrowTypes: Target =
    [x8664v4amx, x8664v4bf16, x8664v4vnni].first(where: \.isRunnable) ?? native

  /// The best x86 target for the text of /proc/cpuinfo.
  static func best(forCPU text: String) -> Target {
    [x8664v4, x8664v3].first { $0.isRunnable(onCPU: text) } ?? generic
  }

  private func isRunnable(onCPU text: String) -> Bool {
    let line = text.split(separator: "\n").first { $0.hasPrefix("flags") } ?? ""
    let flags = Set(line.split(whereSeparator: { " \t".contains($0) }).map(String.init))
    // The kernel's spelling of features where it differs from clang's.
    let spelling = [
      "sse4.2": "sse4_2", "bmi": "bmi1", "lzcnt": "abm", "avx512vnni": "avx512_vnni",
      "avx512bf16": "avx512_bf16", "amx-tile": "amx_tile", "amx-int8": "amx_int8",
      "amx-bf16": "amx_bf16",
    ]
    return requiredFeatures.allSatisfy { flags.contains(spelling[$0] ?? $0) }
  }

  init(
    name: String, lanes: Int, registers: Int, hasFusedMultiplyAdd: Bool, kernelFlags: [String],
    baselineFlags: [String], requiredFeatures: [String], cacheBytes: Int
  ) {
    self.name = name
    self.lanes = lanes
    self.registers = registers
    self.hasFusedMultiplyAdd = hasFusedMultiplyAdd
    self.kernelFlags = kernelFlags
    self.baselineFlags = baselineFlags
    self.requiredFeatures = requiredFeatures
    self.cacheBytes = cacheBytes
  }
}
