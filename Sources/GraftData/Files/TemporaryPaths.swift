// What must be removed when the process is interrupted: the temporary files and directories that are
// being written. The command line installs the handler; a library must not take signals from its host.

import Foundation
import Synchronization

/// The temporary paths of this process.
public enum TemporaryPaths {
  private static let paths = Mutex<Set<String>>([])
  private static let lastWords = Mutex<String?>(nil)
  /// The write end of the pipe that the signal handler writes to.
  nonisolated(unsafe) private static var pipeWriteEnd: Int32 = -1

  /// What standard error is told when the process is interrupted; nil is nothing.
  public static func sayWhenInterrupted(_ text: String?) { lastWords.withLock { $0 = text } }

  static func add(_ path: String) { paths.withLock { _ = $0.insert(path) } }

  static func remove(_ path: String) { paths.withLock { _ = $0.remove(path) } }

  /// Removes everything that is registered, and calls `end` before anyone can register more. Work that
  /// fails because its folder is gone waits here too, instead of reporting it.
  private static func removeAll(then end: () -> Void) {
    paths.withLock { paths in
      for path in paths {
        // Other threads may still be making files in it: under another name they cannot.
        let aside = path + ".removed"
        let victim = rename(path, aside) == 0 ? aside : path
        for _ in 0..<3 where (try? FileManager.default.removeItem(atPath: victim)) == nil {}
      }
      end()
    }
  }

  /// From now on SIGINT, SIGTERM and SIGHUP remove the temporary paths before they end the process,
  /// as they would have without this. Call it once, first thing.
  ///
  /// The handler only writes a byte to a pipe, which is all that a signal handler may do; a thread
  /// that waits on the pipe does the rest. Programs that are started meanwhile keep the default action.
  public static func removeOnInterrupt() {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { return }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    pipeWriteEnd = ends[1]
    let readEnd = ends[0]
    let thread = Thread {
      var number: UInt8 = 0
      while read(readEnd, &number, 1) != 1 {}
      let signalNumber = Int32(number)
      removeAll {
        if let text = lastWords.withLock({ $0 }) {
          let bytes = Array("\n\(text)\n".utf8)
          _ = write(STDERR_FILENO, bytes, bytes.count)
        }
        signal(signalNumber, SIG_DFL)
        kill(getpid(), signalNumber)
        // The signal ends the process once it is delivered.
        pause()
      }
    }
    thread.start()
    for number in [SIGINT, SIGTERM, SIGHUP] {
      let former = signal(number) { number in
        var byte = UInt8(truncatingIfNeeded: number)
        _ = write(TemporaryPaths.pipeWriteEnd, &byte, 1)
      }
      // Whoever started this with the signal ignored, as nohup does, wants it to go on.
      if unsafeBitCast(former, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self) {
        signal(number, SIG_IGN)
      }
    }
  }
}
