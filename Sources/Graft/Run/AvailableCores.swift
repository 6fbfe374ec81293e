// How many cores this process may use: its CPU affinity and the cgroup's quota, whichever is less.

import Foundation

/// The cores available to this process.
public enum AvailableCores {
  /// At least 1.
  public static let count: Int = max(
    1, min(ProcessInfo.processInfo.activeProcessorCount, quota))

  /// The quota of this process's own cgroup (version 2), rounded up; unlimited where there is none.
  private static var quota: Int {
    guard let membership = try? String(contentsOfFile: "/proc/self/cgroup", encoding: .utf8),
      let line = membership.split(separator: "\n").first(where: { $0.hasPrefix("0::") })
    else { return .max }
    var folder = "/sys/fs/cgroup" + line.dropFirst(3)
    var least = Int.max
    while folder.hasPrefix("/sys/fs/cgroup") {
      if let text = try? String(contentsOfFile: folder + "/cpu.max", encoding: .utf8) {
        let parts = text.split(whereSeparator: \.isWhitespace).map { Int($0) }
        if parts.count == 2, let allowed = parts[0], let period = parts[1], period > 0 {
          least = min(least, max(1, (allowed + period - 1) / period))
        }
      }
      folder = (folder as NSString).deletingLastPathComponent
    }
    return least
  }
}
