// What the fuzz targets share: libFuzzer's driver, its own mutator, and random choices that a seed repeats.

import Foundation

public enum Fuzzing {
  /// Runs libFuzzer with the program's arguments. SwiftPM wants an entry point of its own in every
  /// executable, so the driver is called rather than libFuzzer's `main`.
  public static func run(
    _ target: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
  ) -> Never {
    var count = CommandLine.argc
    var arguments = CommandLine.unsafeArgv
    exit(runDriver(&count, &arguments, target))
  }

  /// `bytes` changed as libFuzzer changes them, with at most `growth` bytes more.
  public static func mutated(_ bytes: [UInt8], growth: Int) -> [UInt8] {
    let room = bytes.count + growth
    var result = bytes + [UInt8](repeating: 0, count: growth)
    let count = result.withUnsafeMutableBufferPointer {
      mutateBytes($0.baseAddress, bytes.count, room)
    }
    result.removeLast(room - min(max(count, 0), room))
    return result
  }

  /// Numbers at which arithmetic and checks of bounds go wrong.
  public static let interesting: [Int64] = [
    0, 1, -1, 2, 3, 7, 8, 16, 127, 255, 65_536, 1 << 31, -(1 << 31), 1 << 40, .max, .min,
    .max - 1, .min + 1,
  ]
}

/// A plain linear generator: the same seed gives the same mutation.
public struct Randomness: RandomNumberGenerator {
  private var state: UInt64

  public init(seed: UInt64) { state = seed }

  public mutating func next() -> UInt64 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return (state >> 29) ^ state
  }
}

/// Changes `count` bytes in place where there is room for `room`; returns the new count.
@_silgen_name("LLVMFuzzerMutate")
public func mutateBytes(_ data: UnsafeMutablePointer<UInt8>?, _ count: Int, _ room: Int) -> Int

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
  _ count: UnsafeMutablePointer<CInt>,
  _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
  _ target: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt
