// Threads whose creation may fail because of a process or memory limit; the work is then done by the
// available ones. (Dispatch and Foundation block forever or trap.)

import Glibc
import Synchronization

/// Worker threads.
public enum WorkerThreads {
  /// Runs `body` for every index below `count`, in any order, and returns when all are done.
  /// - Parameter threads: the maximum number of threads, including the caller's, which is the only one if no
  ///   other can be started.
  public static func perform(_ count: Int, threads: Int, _ body: @Sendable (Int) -> Void) {
    guard count > 0 else { return }
    withoutActuallyEscaping(body) { body in
      let indices = Indices(count)
      let work: @Sendable () -> Void = {
        while let index = indices.next() { body(index) }
      }
      var others: [pthread_t] = []
      while others.count < min(count, threads) - 1, let thread = create(work) {
        others.append(thread)
      }
      work()
      for thread in others { pthread_join(thread, nil) }
    }
  }

  /// Starts a detached thread that runs `body`.
  /// - Returns: whether it could be started.
  public static func start(_ body: @escaping @Sendable () -> Void) -> Bool {
    guard let thread = create(body) else { return false }
    pthread_detach(thread)
    return true
  }

  /// The stack size in bytes; the default is the main thread's limit, which may be small.
  private static let stackBytes = 4 << 20

  private static func create(_ body: @escaping @Sendable () -> Void) -> pthread_t? {
    var attributes = pthread_attr_t()
    guard pthread_attr_init(&attributes) == 0 else { return nil }
    defer { pthread_attr_destroy(&attributes) }
    guard pthread_attr_setstacksize(&attributes, stackBytes) == 0 else { return nil }
    let boxed = Unmanaged.passRetained(Body(body))
    var thread = pthread_t()
    let status = pthread_create(
      &thread, &attributes,
      { argument in
        guard let argument else { return nil }
        Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
        return nil
      }, boxed.toOpaque())
    guard status == 0 else {
      boxed.release()
      return nil
    }
    return thread
  }

  private final class Body: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }

  /// Distributes every index once.
  private final class Indices: Sendable {
    private let count: Int
    private let begun = Atomic(0)
    init(_ count: Int) { self.count = count }
    func next() -> Int? {
      let index = begun.add(1, ordering: .relaxed).oldValue
      return index < count ? index : nil
    }
  }
}
