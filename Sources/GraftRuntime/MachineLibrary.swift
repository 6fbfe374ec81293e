// The library that measures the machine, loaded.

import CGraftABI

/// Functions that do as much arithmetic, or read as much memory, as a core can.
public final class MachineLibrary: Sendable {
  private typealias Arithmetic = @convention(c) (Int, Float, UnsafeMutablePointer<Float>) -> Int
  private typealias Reading =
    @convention(c) (UnsafePointer<Float>, Int, UnsafeMutablePointer<Float>) -> Int

  // Immutable; the functions live as long as the library is loaded.
  nonisolated(unsafe) private let library: DynamicLibrary
  private let arithmetic: Arithmetic
  private let reading: Reading

  /// - Parameters:
  ///   - path: of the library, absolute or relative to the working directory.
  ///   - multiplyAdds: the symbol of the function that computes.
  ///   - read: the symbol of the function that reads.
  /// - Throws: ``GraftError`` of kind `invalidBundle` if it cannot be loaded or lacks them.
  public init(path: String, multiplyAdds: String, read: String) throws {
    library = try DynamicLibrary(path: path)
    arithmetic = unsafeBitCast(try library.symbol(multiplyAdds), to: Arithmetic.self)
    reading = unsafeBitCast(try library.symbol(read), to: Reading.self)
  }

  /// Does 12 vector multiply-adds in each of `rounds` rounds.
  /// - Returns: multiply-adds of single floats.
  public func compute(rounds: Int) -> Int {
    var sum: Float = 0
    return arithmetic(rounds, 0.5, &sum)
  }

  /// Reads floats from front to back.
  /// - Returns: bytes.
  public func read(_ floats: UnsafeBufferPointer<Float>) -> Int {
    guard let start = floats.baseAddress else { return 0 }
    var sum: Float = 0
    return reading(start, floats.count, &sum)
  }
}
