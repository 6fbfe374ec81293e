// The limits of this machine that kernels are compared with: peak arithmetic rate and memory bandwidth.

import Foundation
import GraftCodegen
import GraftData
import GraftDiagnostics
import GraftIR
import GraftRuntime
import GraftSystem

/// The limits of a machine for a target and a number of threads.
public struct MachineLimits: Encodable, Sendable {
  public var target: String
  public var threads: Int
  /// The peak multiply-add rate of all threads together, in 10⁹ operations per second (two per multiply-add).
  public var gigaflops: Double
  /// The same for products of bytes that are summed in int32, in kernels for this target.
  public var byteGigaops: Double
  /// The same for products of bfloat16 that are summed in float32.
  public var halfGigaflops: Double
  /// The memory read bandwidth of all threads together, in 10⁹ bytes per second.
  public var gigabytesPerSecond: Double

  public init(
    target: String, threads: Int, gigaflops: Double, byteGigaops: Double, halfGigaflops: Double,
    gigabytesPerSecond: Double
  ) {
    self.target = target
    self.threads = threads
    self.gigaflops = gigaflops
    self.byteGigaops = byteGigaops
    self.halfGigaflops = halfGigaflops
    self.gigabytesPerSecond = gigabytesPerSecond
  }

  enum CodingKeys: String, CodingKey {
    case target, threads
    case gigaflops = "gflops"
    case byteGigaops = "int8_gops"
    case halfGigaflops = "bfloat16_gflops"
    case gigabytesPerSecond = "read_gb_per_s"
  }

  /// The peak rate of products of a type, in 10⁹ operations per second.
  func peak(of type: DataType?) -> Double {
    switch type {
    case .int8: byteGigaops
    case .bfloat16: halfGigaflops
    default: gigaflops
    }
  }

  /// Bytes that each thread reads, more than the caches hold.
  private static let bytesPerThread = 128 << 20

  /// Measures the limits, in about a second, as the best of several tries.
  /// - Throws: ``GraftError`` of kind `toolchain` if there is no compiler, of kind `machine` if memory cannot
  ///   be allocated.
  public static func measure(
    target: CompilationTarget = .native, threads: Int = AvailableCores.count
  ) throws -> MachineLimits {
    let folder = try TemporaryFolder()
    let path = try Toolchain.find().compile(MachineProbe.generate(for: target), into: folder.path)
    let library = try MachineLibrary(
      path: path,
      multiplyAdds: [
        MachineProbe.multiplyAdds, MachineProbe.byteProducts, MachineProbe.halfProducts,
      ],
      read: MachineProbe.read)
    let rounds = 4_000_000
    let floats = bytesPerThread / MemoryLayout<Float>.size
    guard let memory = FloatMemory(count: floats * threads) else {
      throw GraftError(
        .machine, "cannot allocate \((bytesPerThread * threads).asBytes) of memory to read")
    }
    let arithmetic = (0..<3).map { function in
      best(threads) { _ in library.compute(function, rounds: rounds) }
    }
    let bytes = best(threads) { library.read(memory.part($0, of: threads)) }
    return MachineLimits(
      target: target.name, threads: threads, gigaflops: 2 * arithmetic[0] / 1e9,
      byteGigaops: 2 * arithmetic[1] / 1e9, halfGigaflops: 2 * arithmetic[2] / 1e9,
      gigabytesPerSecond: bytes / 1e9)
  }

  /// The rate of all threads together per second, in the best of several tries.
  private static func best(_ threads: Int, _ work: @Sendable (Int) -> Int) -> Double {
    let clock = ContinuousClock()
    return (0..<7).map { _ in
      let done = Results(count: threads)
      let time = clock.measure {
        WorkerThreads.perform(threads, threads: threads) { done.set($0, work($0)) }
      }
      return Double(done.total) / (time / .seconds(1))
    }.max() ?? 0
  }

  /// The results of each thread, which writes only its own.
  private final class Results: @unchecked Sendable {
    private let values: UnsafeMutableBufferPointer<Int>
    init(count: Int) {
      values = .allocate(capacity: count)
      values.initialize(repeating: 0)
    }
    deinit { values.deallocate() }
    func set(_ index: Int, _ value: Int) { values[index] = value }
    var total: Int { values.reduce(0, +) }
  }

  /// Memory filled with ones, so that every page is resident.
  private final class FloatMemory: @unchecked Sendable {
    private let floats: UnsafeMutableBufferPointer<Float>
    init?(count: Int) {
      guard let start = malloc(count * MemoryLayout<Float>.size) else { return nil }
      floats = UnsafeMutableBufferPointer(
        start: start.bindMemory(to: Float.self, capacity: count), count: count)
      floats.initialize(repeating: 1)
    }
    deinit { free(floats.baseAddress) }
    func part(_ index: Int, of parts: Int) -> UnsafeBufferPointer<Float> {
      let size = floats.count / parts
      return UnsafeBufferPointer(rebasing: floats[index * size..<(index + 1) * size])
    }
  }
}
