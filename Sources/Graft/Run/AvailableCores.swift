// How many cores this process may use: its CPU affinity and the cgroup's quota, whichever is less.

import Foundation

/// The cores available to this process.
public enum AvailableCores {
  /// At least 1.
  public static let count: Int = max(
    1, min(ProcessInfo.processInfo.activeProcessorCount, quota(systemRoot: "")))

  /// The quota of this process's own cgroups, or of those that they lie in, to the nearest core but at least
  /// 1; unlimited where there is none.
  /// - Parameter systemRoot: in front of `/proc` and `/sys`.
  static func quota(systemRoot: String) -> Int {
    guard
      let membership = try? String(
        contentsOfFile: systemRoot + "/proc/self/cgroup", encoding: .utf8)
    else { return .max }
    let base = systemRoot + "/sys/fs/cgroup"
    return membership.split(separator: "\n").map { line -> Int in
      // 0::/path of version 2, or 4:cpu,cpuacct:/path of version 1.
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { return .max }
      if fields[0] == "0" {
        return least(base, String(fields[2])) { folder in
          let numbers = read(folder + "/cpu.max")
          return numbers.count == 2 ? (numbers[0], numbers[1]) : nil
        }
      }
      guard fields[1].split(separator: ",").contains("cpu") else { return .max }
      return [String(fields[1]), "cpu"].map { mount in
        least(base + "/" + mount, String(fields[2])) { folder in
          let quota = read(folder + "/cpu.cfs_quota_us")
          let period = read(folder + "/cpu.cfs_period_us")
          return quota.count == 1 && period.count == 1 ? (quota[0], period[0]) : nil
        }
      }.min() ?? .max
    }.min() ?? .max
  }

  /// The least quota of the folder `path` below `base` and those that it lies in. In a container the path may
  /// be that of the host, which is not there; then `base` is the container's own.
  private static func least(
    _ base: String, _ path: String, _ limits: (String) -> (quota: Int?, period: Int?)?
  ) -> Int {
    var least = Int.max
    var folder = path == "/" ? base : base + path
    while folder.hasPrefix(base) {
      if let found = limits(folder), let quota = found.quota, let period = found.period,
        quota > 0, period > 0
      {
        least = min(least, max(1, Int((Double(quota) / Double(period)).rounded())))
      }
      folder = (folder as NSString).deletingLastPathComponent
    }
    return least
  }

  /// The numbers of a file; nil where a word is none, as `max`.
  private static func read(_ path: String) -> [Int?] {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return [] }
    return text.split(whereSeparator: \.isWhitespace).map { Int($0) }
  }
}
