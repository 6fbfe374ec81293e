// Temporary files and directories to remove when the process is killed by a signal. Only the command line
// installs the signal handler; the library does not.

import CProcess

/// The temporary paths of this process. Once the process is being terminated, both calls block forever, so
/// that work whose folder was removed prints no errors.
public enum TemporaryPaths {
  /// Sets the message that is written to standard error on interruption; nil for none.
  public static func sayWhenInterrupted(_ text: String?) { CProcess_sayAtSignals(text) }

  /// Paths beyond the table's capacity are not removed when the process is killed.
  package static func add(_ path: String) { _ = CProcess_addTemporary(path) }

  package static func remove(_ path: String) { CProcess_removeTemporary(path) }

  /// Makes SIGINT, SIGTERM and SIGHUP remove the temporary paths before they end the process. Call it once at
  /// the start. Child processes keep the default action.
  public static func removeOnInterrupt() { CProcess_removeTemporariesAtSignals() }
}
