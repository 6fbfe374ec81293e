// Process-wide setup that a program may request once at its start; the library never changes signals or
// descriptors by itself.

import CProcess
import GraftData
import GraftIR

/// Protects a process from its environment: closed descriptors, signals, truncated files, small stacks.
public enum ProcessGuard {
  /// Ensures that descriptors 0 to 2 are open. Closed pipes and file size limits become errors instead of
  /// signals. Truncated mapped files read as zeros until ``checkMappedFiles()`` throws. SIGINT, SIGTERM and
  /// SIGHUP remove unfinished bundles and files before they end the process. Freed memory goes back to the system.
  public static func install() {
    CProcess_returnFreedMemory()
    CProcess_secureDescriptors()
    CProcess_surviveCutFiles()
    TemporaryPaths.removeOnInterrupt()
  }

  /// - Throws: `GraftError` that names a file that was truncated while this process had it mapped.
  public static func checkMappedFiles() throws { try MappedFile.checkNoneWasCut() }

  /// Gives all memory that has been freed back to the system.
  package static func trimMemory() { CProcess_trimMemory() }

  /// Runs `body` with at least 8 MB of stack, regardless of the process's stack limit.
  public static func withEnoughStack(_ body: () -> Void) {
    withoutActuallyEscaping(body) { body in
      let boxed = Body(body)
      CProcess_withEnoughStack(
        { argument in
          guard let argument else { return }
          Unmanaged<Body>.fromOpaque(argument).takeUnretainedValue().run()
        }, Unmanaged.passUnretained(boxed).toOpaque())
      withExtendedLifetime(boxed) {}
    }
  }

  private final class Body {
    let run: () -> Void
    init(_ run: @escaping () -> Void) { self.run = run }
  }
}
