// A bundle that is ready to run: digests checked, library loaded, weights in memory. Maps names and arrays to
// the bundle's C interface.

import GraftDiagnostics
import GraftIR
import GraftRuntime
import Synchronization

/// Runs a compiled bundle.
///
/// ```swift
/// let session = try Session(ModelBundle(opening: "resnet20.graft"))
/// let outputs = try session.run(["image": image])
/// ```
///
/// If the bundle was compiled for several input shapes, every call runs the program for the shapes that it is
/// given; the programs share the weights. Creating a session loads the bundle's library, and so executes its
/// author's code. Only one caller at a time; a concurrent call throws an error.
public final class Session: Sendable {
  /// An input or output.
  public struct Port: Sendable {
    public var name: String
    public var type: TensorType
  }

  public let bundle: ModelBundle
  public let threads: Int
  /// The library's programs, in the order of ``Manifest/programs``.
  private let programs: [ModelLibrary]
  private let weights: PackedMemory
  private let choice: ProgramChoice
  private let largestBatch: Int
  /// The programs that were used, by index; each has its own memory for activations.
  private let loaded = Mutex<[Int: LoadedModel]>([:])

  /// The inputs and outputs of the first program; those of others differ only in their shapes.
  public var inputs: [Port] { inputs(ofProgram: 0) }
  public var outputs: [Port] { programs[0].description.outputs.map(Port.init) }

  func inputs(ofProgram index: Int) -> [Port] { programs[index].description.inputs.map(Port.init) }

  /// Loads the bundle's library and weights, and checks their digests.
  /// - Parameters:
  ///   - threads: by default the number of available cores.
  ///   - largestBatch: the batch size for which a program that is used first allocates memory; ``run(_:)``
  ///     reallocates if necessary.
  ///   - program: the program that gets memory now, an index into ``Manifest/programs``; others get it when they
  ///     are first used.
  /// - Throws: ``GraftError`` if a file is damaged, or the CPU lacks required features.
  public init(
    _ bundle: ModelBundle, threads: Int = AvailableCores.count, largestBatch: Int = 1,
    program: Int = 0
  ) throws {
    self.bundle = bundle
    self.threads = threads
    self.largestBatch = largestBatch
    choice = try ProgramChoice(bundle.manifest)
    try bundle.checkDigests(of: [BundleLayout.library])
    programs = try ModelLibrary(path: bundle.path(of: BundleLayout.library)).programs()
    try Self.check(bundle, against: programs.map(\.description))
    let read = Mutex<PackedMemory?>(nil)
    // Hashing and reading the weights take about equally long, so they run concurrently.
    try concurrently(2) { index in
      if index == 0 {
        try bundle.checkDigests(of: [BundleLayout.packed])
      } else {
        let memory = try PackedMemory(reading: bundle.path(of: BundleLayout.packed))
        read.withLock { $0 = memory }
      }
    }
    guard let weights = read.withLock({ $0 }) else {
      throw GraftError(.inconsistency, "the weights were not read")
    }
    self.weights = weights
    guard programs.indices.contains(program) else {
      throw GraftError(
        .invalidArgument, "there is no program \(program); the bundle has \(programs.count)",
        at: SourceLocation(file: bundle.path))
    }
    _ = try model(ofProgram: program)
  }

  /// Checks that manifest and library agree on the programs' inputs and outputs: the manifest determines
  /// preprocessing, labels and which program runs, the library the memory accesses.
  private static func check(_ bundle: ModelBundle, against library: [LibraryDescription]) throws {
    func agree(_ tensors: [Manifest.Tensor], _ described: [TensorDescription]) throws -> Bool {
      try tensors.count == described.count
        && zip(tensors, described).allSatisfy { tensor, description in
          let type = try tensor.type()
          return tensor.name == description.name && type.dtype == description.type.dtype
            && type.shape == description.type.shape
        }
    }
    let programs = bundle.manifest.programs
    guard programs.count == library.count,
      try zip(programs, library).allSatisfy({ program, description in
        try agree(program.inputs, description.inputs)
          && agree(program.outputs, description.outputs)
      })
    else {
      throw GraftError(
        .invalidBundle,
        "the manifest's inputs and outputs differ from those of \(BundleLayout.library)",
        at: SourceLocation(file: bundle.path(of: BundleLayout.manifest)),
        advice: "Recompile the model.")
    }
  }

  /// A program with its memory for activations.
  private func model(ofProgram index: Int) throws -> LoadedModel {
    try loaded.withLock { loaded in
      if let present = loaded[index] { return present }
      let program = programs[index]
      let model = try LoadedModel(
        library: program, weights: weights,
        largestBatch: program.description.hasFreeBatch ? largestBatch : 1, threads: threads)
      loaded[index] = model
      return model
    }
  }

  /// Runs the network on one tensor per input; their shapes determine the program and the batch size.
  /// - Returns: the outputs by name.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if an input is missing or unknown, or has a shape that no
  ///   program takes.
  public func run(_ inputs: [String: Tensor]) throws -> [String: Tensor] {
    let call = try prepare(inputs)
    try call.run()
    return call.outputs
  }

  /// Also returns intermediate values by their names in the model, if the optimized network still computes
  /// them.
  public func runKeepingValues(
    _ inputs: [String: Tensor]
  ) throws -> (outputs: [String: Tensor], values: [String: Tensor]) {
    let call = try prepare(inputs, keepingValues: true)
    try call.run()
    return (call.outputs, call.values)
  }

  /// Checks and copies the inputs once, for repeated calls.
  public func prepare(
    _ inputs: [String: Tensor], keepingValues: Bool = false
  ) throws -> PreparedCall {
    let (index, batch) = try choice.program(forShapes: inputs.mapValues(\.shape))
    let ordered = try self.inputs(ofProgram: index).compactMap { port in
      try inputs[port.name].map { try Self.converted($0, for: port) }
    }
    let model = try model(ofProgram: index)
    try model.reserve(batch: batch)
    return try PreparedCall(model, inputs: ordered, batch: batch, keepingValues: keepingValues)
  }

  private static func converted(_ tensor: Tensor, for port: Port) throws -> Tensor {
    do { return try tensor.converted(to: port.type.dtype) } catch let error as GraftError {
      throw GraftError(
        .invalidArgument, "input \(port.name.quotedForDisplay): \(error.message)",
        advice: error.advice)
    }
  }
}

extension Session.Port {
  init(_ tensor: TensorDescription) { self.init(name: tensor.name, type: tensor.type) }

  /// - Throws: ``GraftError`` of kind `invalidBundle` for an unknown element type.
  init(_ tensor: Manifest.Tensor) throws {
    self.init(name: tensor.name, type: try tensor.type())
  }
}

/// A call with bound inputs that can be repeated. Not thread-safe.
public final class PreparedCall {
  private let model: LoadedModel
  private let batch: Int
  private let inputs: [Tensor]
  private var outputBuffers: [TensorBuffer]
  private var valueBuffers: [TensorBuffer]

  init(
    _ model: LoadedModel, inputs: [Tensor], batch: Int, keepingValues: Bool
  ) throws {
    self.model = model
    self.batch = batch
    self.inputs = inputs
    outputBuffers = try model.description.outputs.map { try TensorBuffer($0, batch: batch) }
    valueBuffers =
      keepingValues ? try model.description.values.map { try TensorBuffer($0, batch: batch) } : []
  }

  /// Runs the network once.
  public func run() throws {
    try withInputs { inputs in
      try model.run(
        batch: batch, inputs: inputs, outputs: outputBuffers.map(\.bytes),
        taps: valueBuffers.enumerated().map {
          LoadedModel.Tap(value: $0.offset, buffer: $0.element.bytes)
        })
    }
  }

  private func withInputs(
    _ collected: [UnsafeRawBufferPointer] = [], _ body: ([UnsafeRawBufferPointer]) throws -> Void
  ) throws {
    guard collected.count < inputs.count else { return try body(collected) }
    try inputs[collected.count].bytes.withUnsafeBytes {
      try withInputs(collected + [$0], body)
    }
  }

  /// The outputs of the last run, by name.
  public var outputs: [String: Tensor] { Self.tensors(outputBuffers) }

  /// The intermediate values of the last run, by name, if they were requested.
  public var values: [String: Tensor] { Self.tensors(valueBuffers) }

  /// The names of the program's steps, in order.
  public var stepNames: [String] { model.description.stepNames }

  /// Bytes of activations and scratch memory that the program needs for the call.
  public var arenaBytes: Int {
    model.library.arenaBytes(batch: batch, threads: model.threads) ?? 0
  }

  /// Nanoseconds of each step of the last run; the first call enables the clock.
  public func stepNanoseconds() -> [UInt64] { model.stepTimes() }

  private static func tensors(_ buffers: [TensorBuffer]) -> [String: Tensor] {
    Dictionary(buffers.map { ($0.name, $0.tensor) }, uniquingKeysWith: { first, _ in first })
  }
}

/// Memory for a tensor that a library writes.
private final class TensorBuffer {
  let name: String
  private let dtype: DataType
  private let shape: [Int]
  let bytes: UnsafeMutableRawBufferPointer

  init(_ description: TensorDescription, batch: Int) throws {
    name = description.name
    dtype = description.type.dtype
    shape = try description.type.shape.extents(batch: batch)
    bytes = .allocate(byteCount: shape.reduce(dtype.byteCount, *), alignment: 64)
    bytes.initializeMemory(as: UInt8.self, repeating: 0)
  }

  deinit { bytes.deallocate() }

  var tensor: Tensor { Tensor(unchecked: dtype, shape, Array(bytes)) }
}
