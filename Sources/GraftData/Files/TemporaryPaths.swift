// What must be removed when the process is ended from outside: the temporary files and directories that are
// being written. The command line installs the handler; a library must not take signals from its host.

import CProcess

/// The temporary paths of this process. Once it is being ended both calls wait for ever: work that fails
/// because its folder is gone says nothing any more.
public enum TemporaryPaths {
  /// What standard error is told when the process is interrupted; nil is nothing.
  public static func sayWhenInterrupted(_ text: String?) { CProcess_sayAtSignals(text) }

  /// Paths that no longer find room are left behind by a killed process, and harm nothing else.
  static func add(_ path: String) { _ = CProcess_addTemporary(path) }

  static func remove(_ path: String) { CProcess_removeTemporary(path) }

  /// From now on SIGINT, SIGTERM and SIGHUP remove the temporary paths before they end the process,
  /// as they would have without this. Call it once, first thing. Programs that are started meanwhile keep
  /// the default action.
  public static func removeOnInterrupt() { CProcess_removeTemporariesAtSignals() }
}
