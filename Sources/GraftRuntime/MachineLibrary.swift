// The loaded library that measures the machine's limits.

import CGraftABI

/// Functions that reach the peak arithmetic rate and memory read bandwidth of a core.
public final class MachineLibrary: Sendable {
  private typealias Arithmetic = @convention(c) (Int, Float, UnsafeMutablePointer<Float>) -> Int
  private typealias Reading =
    @convention(c) (UnsafePointer<Float>, Int, UnsafeMutablePointer<Float>) -> Int

  // Immutable; the functions are valid while the library is loaded.
  nonisolated(unsafe) private let library: DynamicLibrary
  private let arithmetic: [Arithmetic]
  private let reading: Reading

  /// - Parameters:
  ///   - path: of the library, absolute or relative to the working directory.
  ///   - multiplyAdds: the symbols of the functions that compute.
  ///   - read: the symbol of the function that reads.
  /// - Throws: ``GraftError`` of kind `invalidBundle` if it cannot be loaded or lacks them.
  public init(path: String, multiplyAdds: [String], read: String) throws {
    library = try DynamicLibrary(path: path)
    arithmetic = try multiplyAdds.map { [library] in
      unsafeBitCast(try library.symbol($0), to: Arithmetic.self)
    }
    reading = unsafeBitCast(try library.symbol(read), to: Reading.self)
  }

  /// Executes 12 vector multiply-adds, or as much of other arithmetic, in each of `rounds` rounds.
  /// - Parameter function: its index among those that compute.
  /// - Returns: the number of scalar multiply-adds.
  public func compute(_ function: Int, rounds: Int) -> Int {
    var sum: Float = 0
    return arithmetic[function](rounds, 0.5, &sum)
  }

  /// Reads floats sequentially.
  /// - Returns: the number of bytes.
  public func read(_ floats: UnsafeBufferPointer<Float>) -> Int {
    guard let start = floats.baseAddress else { return 0 }
    var sum: Float = 0
    return reading(start, floats.count, &sum)
  }
}
