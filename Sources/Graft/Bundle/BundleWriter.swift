// Writes the files of a bundle to an empty directory. DirectoryReplacement makes this atomic.

import Foundation
import GraftAutodiff
import GraftCodegen
import GraftData
import GraftDiagnostics
import GraftIR
import Synchronization

/// Writes bundles.
struct BundleWriter {
  let model: SourceModel
  /// The lowered graph of each program of the model.
  let scheduled: [ScheduledProgram]
  let generated: GeneratedModel
  let toolchain: Toolchain
  let isCompact: Bool
  let roundsFactors: Bool
  /// How the layers were put on bytes; nil if they are float32.
  let quantization: QuantizationRecord?
  let schedules: [ConvolutionSite: ConvolutionVariant]
  /// The training step of the bundle, and its manifest entry once written.
  let training: TrainableNetwork?
  private(set) var trainingEntry: Manifest.Training?
  let previous: PreviousBuild?

  /// Writes everything except the manifest: graphs, weights, C, objects and libraries.
  mutating func writeFiles(to folder: String) throws {
    try writeGraphs(to: folder)
    try generated.packed.write(
      to: ModelBundle.join(folder, BundleLayout.packed), from: model.graphs)
    try toolchain.compile(generated, into: folder, reusing: previous)
    if let quantization {
      try Self.write(quantization.encodedRanges(), to: folder, as: BundleLayout.ranges)
    }
    trainingEntry = try training?.write(to: folder, target: generated.target)
  }

  /// Writes the graph of every program, and each parameter once.
  private func writeGraphs(to folder: String) throws {
    var shared: [String: TensorData] = [:]
    for (index, graph) in model.graphs.enumerated() {
      try Self.write(
        Data(graph.text.utf8), to: folder, as: BundleLayout.graph(ofProgram: index))
      let tensors = try graph.parameters.map { id -> (name: String, data: TensorData) in
        guard let name = graph[id].name, let data = graph[id].parameter?.data else {
          throw GraftError(.inconsistency, "a parameter has no name or no data")
        }
        return (name, data)
      }
      if index == 0 {
        try Safetensors.write(tensors, to: ModelBundle.join(folder, BundleLayout.weights))
        shared = Dictionary(tensors.map { ($0.name, $0.data) }, uniquingKeysWith: { $1 })
        continue
      }
      let own = tensors.filter { tensor in
        shared[tensor.name].map { !$0.hasSameElements(as: tensor.data) } ?? true
      }
      guard !own.isEmpty else { continue }
      try Safetensors.write(
        own, to: ModelBundle.join(folder, BundleLayout.ownWeights(ofProgram: index)))
    }
  }

  private static func digests(of folder: String) throws -> [String: Manifest.File] {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    let files = Mutex<[String: Manifest.File]>([:])
    try concurrently(names.count) { index in
      let digest = try Digest.sha256(fileAt: ModelBundle.join(folder, names[index]))
      files.withLock {
        $0[names[index]] = Manifest.File(bytes: digest.bytes, sha256: digest.sha256)
      }
    }
    return files.withLock { $0 }
  }

  /// The entry of each program.
  private var programs: [Manifest.Program] {
    zip(model.graphs, zip(scheduled, generated.programs)).map { graph, pair in
      let (lowered, program) = pair
      return Manifest.Program(
        inputs: graph.inputs.map {
          Manifest.Tensor(name: graph[$0].name ?? "", type: graph[$0].type)
        },
        outputs: graph.outputs.map {
          Manifest.Tensor(name: $0.name, type: graph.type(of: $0.value))
        },
        hasFreeBatch: graph.hasFreeBatch, arenaBytesPerImage: lowered.plan.arenaBytesPerBatch,
        scratchBytesPerThread: program.scratchBytesPerThread > 0
          ? program.scratchBytesPerThread : nil,
        schedule: program.steps.map { step in
          let origins = step.node.map { lowered.graph[$0].origins.joined(separator: ", ") } ?? ""
          return origins.isEmpty
            ? "\(step.kernel): \(step.algorithm)" : "\(step.kernel): \(step.algorithm): \(origins)"
        },
        work: program.steps.map(\.work).map {
          Manifest.Work(
            multiplyAdds: $0.multiplyAdds, performedMultiplyAdds: $0.performedMultiplyAdds,
            arithmetic: $0.arithmetic.flatMap { $0 == .float32 ? nil : $0.rawValue },
            activationBytes: $0.activationBytes, weightBytes: $0.weightBytes)
        })
    }
  }

  /// Writes the manifest of the existing files, and its digest.
  func writeManifest(to folder: String) throws {
    let files = try Self.digests(of: folder)
    let graph = model.graph
    let endings = try graph.outputs.map { try Ending(of: $0.value, in: graph) }
    let activations = endings.map { Manifest.OutputActivation($0.activation) }
    let classOutput = try graph.classOutput(labels: model.labels?.count)
    let hasSeveral = graph.outputs.count > 1
    let programs = self.programs
    let first = programs[0]
    let manifest = Manifest(
      format: Manifest.FormatVersion(
        major: BundleLayout.formatMajor, minor: BundleLayout.formatMinor),
      tool: GraftVersion.tool, compiler: toolchain.version, name: graph.name,
      inputs: first.inputs, outputs: first.outputs,
      preprocessing: model.preprocessing, labels: model.labels,
      outputActivation: activations.indices.contains(classOutput)
        ? activations[classOutput] : .none,
      classOutput: hasSeveral ? classOutput : nil,
      outputActivations: hasSeveral ? activations : nil,
      classAxis: endings.indices.contains(classOutput) ? endings[classOutput].classAxis : nil,
      target: Manifest.Target(
        name: generated.target.name, features: generated.target.requiredFeatures,
        lanes: generated.target.lanes),
      hasFreeBatch: first.hasFreeBatch, arenaBytesPerImage: first.arenaBytesPerImage,
      scratchBytesPerThread: first.scratchBytesPerThread,
      isCompact: isCompact ? true : nil, roundsFactors: roundsFactors ? true : nil,
      tuned: schedules.isEmpty
        ? nil
        : Dictionary(uniqueKeysWithValues: schedules.map { ($0.key.description, $0.value) }),
      schedule: first.schedule, work: first.work,
      furtherPrograms: programs.count > 1 ? Array(programs.dropFirst()) : nil,
      quantization: quantization.map { Manifest.Quantization($0) },
      provenance: model.provenance, build: generated.buildID.hexadecimal, training: trainingEntry,
      fineTuning: model.fineTuning, files: files)
    let data = try manifest.encoded()
    for (name, contents) in [
      (BundleLayout.manifest, data),
      (BundleLayout.manifestDigest, Data((Digest.sha256(data) + "\n").utf8)),
    ] {
      try Self.write(contents, to: folder, as: name)
    }
  }

  private static func write(_ contents: Data, to folder: String, as name: String) throws {
    let file = try OutputFile(ModelBundle.join(folder, name))
    try contents.withUnsafeBytes { try file.write($0) }
    try file.close()
  }
}

extension Manifest.OutputActivation {
  fileprivate init(_ activation: Ending.Activation) {
    switch activation {
    case .none: self = .none
    case .softmax: self = .softmax
    case .logSoftmax: self = .logSoftmax
    case .sigmoid: self = .sigmoid
    case .other: self = .other
    }
  }
}
