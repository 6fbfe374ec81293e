// What a program that is built on the library may ask for once, first thing; the library never takes signals
// or descriptors from its host by itself.

import CProcess
import GraftData
import GraftIR

/// Protects a process from what its surroundings may do to it.
public enum ProcessGuard {
  /// Descriptors 0 to 2 exist afterwards. Closed pipes and limits on the size of files are errors, no signals.
  /// Mapped files that are cut short read as zeros until ``checkMappedFiles()`` throws. SIGINT, SIGTERM and
  /// SIGHUP remove unfinished bundles and files before they end the process.
  public static func install() {
    CProcess_secureDescriptors()
    CProcess_surviveCutFiles()
    TemporaryPaths.removeOnInterrupt()
  }

  /// - Throws: `GraftError` that names a file which was cut short while this process had it mapped.
  public static func checkMappedFiles() throws { try MappedFile.checkNoneWasCut() }

  /// Runs `body` with at least 8 MB of stack, whatever limit the process was started with.
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
