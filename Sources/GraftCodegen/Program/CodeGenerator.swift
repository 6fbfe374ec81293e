// The entry point of code generation, from scheduled graphs and their memory plans to C sources and packed
// weights. Toolchain compiles the sources; Graft writes the bundle.

import CGraftABI
import GraftDiagnostics
import GraftIR
import GraftOps

/// One C file of a bundle.
public struct SourceFile: Hashable, Sendable {
  /// How it is compiled.
  public enum Role: Hashable, Sendable {
    /// Included by the others.
    case header
    /// With the target's instruction set.
    case kernel
    /// With the baseline of the architecture only, so that it runs before the CPU is checked.
    case baseline
    /// The linker script of exported symbols.
    case linkerScript
  }

  public var name: String
  public var text: String
  public var role: Role
}

/// A step of a generated model, for reports.
public struct StepDescription: Hashable, Sendable {
  /// The node, or nil for a copy that only serves an output.
  public var node: NodeID?
  /// The C function.
  public var kernel: String
  /// Algorithm and tile, as text.
  public var algorithm: String
  public var work: StepWork
  /// The site of a convolution; nil for other steps.
  public var site: ConvolutionSite?
}

/// A network to generate code for.
public struct ScheduledProgram: Sendable {
  /// Its values all have layouts, and its nodes are in execution order.
  public var graph: Graph
  public var plan: MemoryPlan

  public init(graph: Graph, plan: MemoryPlan) {
    self.graph = graph
    self.plan = plan
  }
}

/// A program of a library as C.
public struct GeneratedProgram {
  public var steps: [StepDescription]
  /// The values that taps can copy, by index.
  public var tapNames: [String]
  /// The node that computes each of these values.
  public var tapValues: [ValueID]
  /// Scratch bytes per thread of a session, in addition to the arena.
  public var scratchBytesPerThread: Int
  /// The estimated time of the convolutions relative to the cost model's own choices.
  public var estimatedSlowdown: Double
}

/// A library as C: everything that compiling and loading it needs.
public struct GeneratedModel {
  public var target: Target
  /// The programs, such as model.c, the kernels, and the runtime that goes into every bundle.
  public var sources: [SourceFile]
  /// Writes packed.bin.
  public var packed: PackedWeights
  /// The build id, 32 bytes in the library and in packed.bin.
  public var buildID: [UInt8]
  /// A model has one for each set of input shapes; a training library has the step and the evaluation.
  public var programs: [GeneratedProgram]
  /// Whether a step's factors are rounded to bfloat16.
  public var roundsFactors: Bool {
    programs.contains { $0.steps.contains { $0.work.arithmetic == .bfloat16 } }
  }
  /// The file name of the shared library that the sources become.
  public var libraryName = "libmodel.so"
  /// The state tensors of a training library, by index; empty for a model.
  public var states: [TrainedState] = []
}

/// A state tensor of a training library.
public struct TrainedState: Hashable, Sendable {
  public typealias Role = TrainingInterface.StateRole

  public var name: String
  public var type: TensorType
  public var role: Role
  /// The parameter group of a weight; nil for other state.
  public var group: Int?
}

/// Generates the C of a model.
public struct CodeGenerator: Sendable {
  public var target: Target
  /// Kernels are spread over this many files, so that as many compilers can run at once.
  public var kernelFiles: Int
  public var convolutions = ConvolutionChoices()
  /// Whether the factors of sums of products with constant weights may be rounded to bfloat16.
  public var roundsFactors = false
  /// The batch parts, for tests; nil leaves them to the cost model.
  public var parts: BatchParts?

  public init(target: Target, kernelFiles: Int = 4) {
    self.target = target
    self.kernelFiles = max(1, kernelFiles)
  }

  /// Generates a library with one program: ``generate(_:reusing:)``.
  public func generate(
    graph: Graph, plan: MemoryPlan, reusing previous: PreviousBuild? = nil
  ) throws -> GeneratedModel {
    try generate([ScheduledProgram(graph: graph, plan: plan)], reusing: previous)
  }

  /// Generates a library with a program for each of `programs`, over one packed.bin, which has every distinct
  /// packed parameter once. Equal kernels are shared too.
  ///
  /// The result depends only on the graphs, their parameters' bytes, the plans, the target and `previous`.
  /// - Parameters:
  ///   - programs: at least one; the first is the one that `graft_model()` returns.
  ///   - previous: a library whose kernel files are reused, so that only new kernels are compiled.
  /// - Throws: ``GraftError`` that names a node without a kernel, or a value that is not in the plan.
  public func generate(
    _ programs: [ScheduledProgram], reusing previous: PreviousBuild? = nil
  ) throws -> GeneratedModel {
    let library = KernelLibrary()
    var weights = PackedWeights()
    let lowered = try programs.map { program in
      let lowered = try lower(program, library, weights)
      weights = lowered.lowering.weights
      return lowered
    }
    let buildID = Fingerprint.of(lowered.map(\.lowering), target: target)
    weights.buildID = buildID
    var sources = [
      SourceFile(name: "model.h", text: ModelWriter.header(), role: .header),
      SourceFile(
        name: "kernels.h", text: try ModelWriter.kernelsHeader(for: target), role: .header),
      SourceFile(
        name: "programs.c", text: ModelWriter.programs(count: programs.count), role: .baseline),
      SourceFile(
        name: "exports.map", text: "{ global: graft_model; local: *; };\n", role: .linkerScript),
    ]
    let generated = try zip(programs, lowered).enumerated().map { index, pair in
      let (program, (lowering, parts)) = pair
      var writer = ModelWriter(
        graph: program.graph, plan: program.plan, target: target, lowering: lowering,
        buildID: buildID, kind: .model(number: index + 1), packedBytes: weights.byteCount)
      writer.parts = parts
      let model = try writer.model()
      sources.append(SourceFile(name: writer.kind.fileName, text: model.text, role: .kernel))
      return try GeneratedProgram(lowering, taps: model.taps)
    }
    sources +=
      Self.kernelSources(
        library.kernels, files: kernelFiles, target: target,
        after: previous?.kernelFiles(for: library.kernels) ?? []) + Self.runtimeSources()
    return GeneratedModel(
      target: target, sources: sources, packed: weights, buildID: buildID, programs: generated)
  }

  /// Lowers one program, adding to the kernels and the packed weights of those before it.
  private func lower(
    _ program: ScheduledProgram, _ library: KernelLibrary, _ weights: PackedWeights
  ) throws -> (lowering: Lowering, parts: BatchParts?) {
    let (graph, plan) = (program.graph, program.plan)
    let selection = try KernelSelection(
      SelectionContext(
        graph: graph, target: target, preferences: convolutions, roundsFactors: roundsFactors))
    let parts =
      try parts
      ?? BatchParts.choose(
        for: graph, arenaBytesPerImage: plan.arenaBytesPerBatch,
        nodes: graph.nodes.map { try selection.work(of: $0, in: graph) })
    var places = ValueLocations(graph: graph, plan: plan)
    if let parts { places.keepValues(acrossNode: parts.nodes) }
    var lowering = Lowering(
      graph: graph, plan: plan, target: target, selection: selection, library: library,
      weights: weights, places: places)
    try lowering.run()
    return (lowering, parts)
  }

  /// Scratch bytes per thread of a session, in addition to the arena.
  /// - Throws: ``GraftError`` that names a node that no kernel can compute.
  public func scratchBytesPerThread(graph: Graph) throws -> Int {
    try KernelSelection(
      SelectionContext(
        graph: graph, target: target, preferences: convolutions, roundsFactors: roundsFactors)
    ).scratchBytesPerThread
  }

  /// Adds a note about its kernel, if there is one, to every node of a scheduled graph, for dumps.
  public func noteKernels(in graph: inout Graph) {
    let context = SelectionContext(
      graph: graph, target: target, preferences: convolutions, roundsFactors: roundsFactors)
    for node in graph.nodes {
      graph[node.id].kernel = try? KernelSelection.choose(for: node, context).note
    }
  }

  /// Distributes the kernels over files with about equal compile times, the longest first.
  /// - Parameter present: existing files with some of the kernels; new files come after them.
  static func kernelSources(
    _ kernels: [Kernel], files: Int, target: Target, prefix: String = "",
    after present: [SourceFile] = []
  ) -> [SourceFile] {
    let kernels = kernels.filter { kernel in !present.contains { $0.holds(kernel) } }
    guard !kernels.isEmpty || present.isEmpty else { return present }
    let first = 1 + (present.compactMap { PreviousBuild.number(of: $0.name) }.max() ?? 0)
    let count = min(files, max(1, kernels.count))
    var shares = Array(repeating: [Int](), count: count)
    var sizes = Array(repeating: 0, count: count)
    let byWeight = kernels.indices.sorted {
      (kernels[$0].compileWeight, $1) > (kernels[$1].compileWeight, $0)
    }
    for index in byWeight {
      let lightest = sizes.indices.min { sizes[$0] < sizes[$1] } ?? 0
      shares[lightest].append(index)
      sizes[lightest] += kernels[index].compileWeight
    }
    return present
      + shares.enumerated().map { index, share in
        let number = first + index
        let text =
          "/* Kernels, file \(number), generated by Graft for \(target.name). */\n"
          + "#include \"\(prefix)kernels.h\"\n\n"
          + share.sorted().map { kernels[$0].definition }.joined(separator: "\n")
        return SourceFile(name: "\(prefix)kernels_\(number).c", text: text, role: .kernel)
      }
  }

  /// The C runtime files of a model's library.
  static func runtimeSources() -> [SourceFile] { sources(CGraftABI_fileAt) }

  /// The C runtime files of a training library.
  static func trainingRuntimeSources() -> [SourceFile] { sources(CGraftABI_trainingFileAt) }

  private static func sources(_ fileAt: (Int) -> CGraftABI_file) -> [SourceFile] {
    var sources: [SourceFile] = []
    while case let file = fileAt(sources.count), let name = file.name {
      let bytes = UnsafeBufferPointer(start: file.text, count: file.length)
      sources.append(
        SourceFile(
          name: String(cString: name), text: String(decoding: bytes, as: UTF8.self),
          role: file.isSource != 0 ? .baseline : .header))
    }
    return sources
  }
}

extension GeneratedProgram {
  init(_ lowering: Lowering, taps: [ModelWriter.Tap]) throws {
    steps = try zip(lowering.steps, lowering.work()).map { step, work in
      StepDescription(
        node: step.node, kernel: step.kernel.name, algorithm: step.kernel.algorithm, work: work,
        site: step.site)
    }
    tapNames = taps.map(\.name)
    tapValues = taps.map(\.value)
    scratchBytesPerThread = lowering.selection.scratchBytesPerThread
    estimatedSlowdown = lowering.selection.slowdown
  }
}

extension Kernel {
  /// The estimated compile time; unrolled register tiles take long.
  var compileWeight: Int {
    definition.utf8.count * (name.hasPrefix("conv") ? 4 : 1)
  }
}
