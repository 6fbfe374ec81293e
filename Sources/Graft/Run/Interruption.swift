// What a program that uses the library may ask for when it is interrupted.

import GraftData

/// Interrupting a program that writes bundles.
public enum Interruption {
  /// Makes SIGINT, SIGTERM and SIGHUP remove unfinished bundles and files before they end the process.
  /// Call it once, first thing; the library never takes signals by itself.
  public static func removeTemporaryFiles() { TemporaryPaths.removeOnInterrupt() }
}
