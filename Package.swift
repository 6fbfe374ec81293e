// swift-tools-version: 6.2
// The modules and the only direction in which they import: see docs/architecture.md.
import PackageDescription

let strict: [SwiftSetting] = [.treatAllWarnings(as: .error)]

/// A Swift library target under Sources/, held to warnings as errors.
func library(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

/// The test target of one source target, with the shared helpers of GraftTesting.
func tests(
  _ name: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = []
) -> Target {
  .testTarget(
    name: "\(name)Tests",
    dependencies: [.init(stringLiteral: name), "GraftTesting"] + dependencies,
    exclude: exclude, swiftSettings: strict)
}

let collections = Target.Dependency.product(
  name: "OrderedCollections", package: "swift-collections")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let numerics = Target.Dependency.product(name: "RealModule", package: "swift-numerics")
let parser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

/// The folders of GraftCodegen with C templates: one for each family of kernels that has some, and the
/// program around them.
let templateFolders =
  [
    "Convolution/Direct", "Convolution/Tiles", "Convolution/Winograd", "Convolution/Depthwise",
    "Convolution/Plain",
    "TransposedConvolution", "WeightGradient", "MatrixProduct", "Attention", "Pooling",
    "Elementwise",
    "Movement", "Indexing", "RegionPool", "Normalization",
    "LayerNormalization", "Reduction", "Loss", "Update", "Quantized",
  ].map { "Kernels/\($0)" } + ["Program"]

let package = Package(
  name: "graft",
  products: [
    .executable(name: "graft", targets: ["GraftCLI"]),
    .library(name: "Graft", targets: ["Graft", "GraftTraining"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.1.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.0.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-numerics", from: "1.0.0"),
  ],
  targets: [
    .executableTarget(
      name: "GraftCLI",
      dependencies: [
        "GraftTraining", "Graft", "GraftDiagnostics", "CExhaustion", parser, logging,
      ],
      swiftSettings: strict),
    .target(
      name: "GraftTraining",
      dependencies: [
        "Graft", "GraftPlanning", "GraftAutodiff", "GraftCodegen", "GraftRuntime", "GraftData",
        "GraftOps", "GraftIR", "GraftDiagnostics",
      ],
      resources: [.embedInCode("ReportPage")], swiftSettings: strict),
    .target(
      name: "Graft",
      dependencies: [
        "GraftONNX", "GraftPasses", "GraftPlanning", "GraftAutodiff", "GraftCodegen",
        "GraftRuntime", "GraftData", "GraftOps", "GraftIR", "GraftSystem", "GraftDiagnostics",
        "CProcess", crypto, logging,
      ],
      resources: [.embedInCode("Dump/Page")], swiftSettings: strict),

    library(
      "GraftONNX", ["GraftOps", "GraftIR", "GraftDiagnostics", "COnnxProto", "COnnxChecker"]),
    library("GraftPasses", ["GraftOps", "GraftIR", "GraftDiagnostics"]),
    library("GraftPlanning", ["GraftOps", "GraftIR", "GraftDiagnostics"]),
    library("GraftAutodiff", ["GraftOps", "GraftIR", "GraftDiagnostics"]),
    .target(
      name: "GraftCodegen",
      dependencies: [
        "GraftOps", "GraftIR", "GraftSystem", "GraftDiagnostics", "CGraftABI", "CProcess", crypto,
      ],
      resources: templateFolders.map { .embedInCode("\($0)/Templates") }, swiftSettings: strict),
    library("GraftRuntime", ["GraftOps", "GraftIR", "GraftDiagnostics", "CGraftABI"]),
    library(
      "GraftData",
      [
        "GraftOps", "GraftIR", "GraftSystem", "GraftDiagnostics", "CImageCodecs", "CFileSystem",
        "CProcess", "CTensorBoard", "CCairo",
      ]),

    library("GraftOps", ["GraftIR", "GraftDiagnostics", numerics]),
    library("GraftIR", ["GraftDiagnostics", "CProcess", collections]),
    library("GraftSystem"),
    library("GraftDiagnostics"),

    .target(name: "CGraftABI", exclude: ["runtime"]),
    .target(name: "CFileSystem"),
    .target(name: "CProcess"),
    .target(name: "CExhaustion", dependencies: ["CProcess"]),
    .target(
      name: "COnnxProto", dependencies: ["CProtobufC"]),
    .target(
      name: "COnnxChecker",
      cxxSettings: [.define("ONNX_NAMESPACE", to: "onnx"), .define("ONNX_ML", to: "1")],
      linkerSettings: [
        .linkedLibrary("onnx"), .linkedLibrary("onnx_proto"), .linkedLibrary("protobuf"),
      ]),
    .target(name: "CImageCodecs", dependencies: ["CJPEGTurbo", "CPNG", "CExif"]),
    .target(
      name: "CTensorBoard", dependencies: ["CProtobufC"], exclude: ["tensorboard.proto"]),
    .systemLibrary(
      name: "CProtobufC", pkgConfig: "libprotobuf-c", providers: [.apt(["libprotobuf-c-dev"])]),
    .systemLibrary(
      name: "CJPEGTurbo", pkgConfig: "libjpeg", providers: [.apt(["libjpeg62-turbo-dev"])]),
    .systemLibrary(name: "CPNG", pkgConfig: "libpng", providers: [.apt(["libpng-dev"])]),
    .systemLibrary(name: "CCairo", pkgConfig: "cairo", providers: [.apt(["libcairo2-dev"])]),
    .systemLibrary(name: "CExif", pkgConfig: "libexif", providers: [.apt(["libexif-dev"])]),

    .target(
      name: "GraftTesting", dependencies: ["GraftOps", "GraftIR", "GraftDiagnostics"],
      path: "Tests/GraftTesting", swiftSettings: strict),
    tests("GraftDiagnostics"),
    tests("GraftIR", ["GraftDiagnostics", "CProcess"]),
    tests("GraftOps", exclude: ["Fixtures"]),
    tests("GraftONNX", exclude: ["Golden"]),
    tests("GraftPasses", ["GraftCodegen"], exclude: ["Golden"]),
    tests("GraftPlanning"),
    tests("GraftAutodiff"),
    tests("GraftCodegen", ["GraftRuntime"], exclude: ["Golden"]),
    tests("GraftRuntime", ["GraftOps", "CGraftABI", "GraftDiagnostics"], exclude: ["Fixtures"]),
    .testTarget(
      name: "GraftDataTests", dependencies: ["GraftData", "GraftTesting"],
      exclude: ["Fixtures"], swiftSettings: strict),
    tests(
      "Graft", ["GraftIR", "GraftOps", "GraftDiagnostics", "GraftData", crypto],
      exclude: ["PageLayout"]),
    tests("GraftTraining", ["Graft", "GraftDiagnostics", "GraftData"]),
    .testTarget(
      name: "EndToEndTests",
      dependencies: [
        "GraftTraining", "Graft", "GraftTesting", "GraftONNX", "GraftAutodiff", "GraftCodegen",
        "GraftOps",
        "GraftIR", "GraftDiagnostics", "GraftData",
      ],
      exclude: ["Fixtures"], swiftSettings: strict),
    .testTarget(
      name: "ErrorTests", dependencies: ["GraftCLI", "GraftTesting", crypto], swiftSettings: strict),
  ],
  cxxLanguageStandard: .cxx17
)

// tools/fuzz builds the targets in Tests/Fuzz/ with sanitizers; normal builds have none of them.
if Context.environment["GRAFT_FUZZ"] != nil {
  func fuzzer(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
      name: "Fuzz\(name)",
      dependencies: ["FuzzSupport", "GraftIR", "GraftDiagnostics"] + dependencies,
      path: "Tests/Fuzz/\(name)", exclude: ["seeds"], swiftSettings: strict)
  }
  package.targets += [
    .target(name: "FuzzSupport", path: "Tests/Fuzz/Support", swiftSettings: strict),
    fuzzer("ONNXImporter", ["GraftONNX"]),
    fuzzer("BundleLoader", ["Graft", "GraftONNX", crypto]),
  ]
}
