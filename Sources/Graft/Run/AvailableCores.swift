// The number of cores that this process may use: the minimum of its CPU affinity and its cgroup quota.

import CProcess
import Foundation

/// The cores available to this process.
public enum AvailableCores {
  /// At least 1.
  public static let count: Int = {
    let usable = Int(CProcess_usableCores())
    let cores = usable > 0 ? usable : ProcessInfo.processInfo.activeProcessorCount
    return max(1, min(cores, quota(systemRoot: "")))
  }()

  /// The CPU quota of this process's cgroups and their ancestors, rounded to the nearest core but at least 1;
  /// unlimited if there is none.
  /// - Parameter systemRoot: the prefix of `/proc` and `/sys`.
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

  /// The minimum quota of the folder `path` below `base` and its ancestors. In a container the path may be
  /// that of the host, which does not exist; then `base` is the container's cgroup.
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

  /// The numbers in a file; nil for words such as `max`.
  private static func read(_ path: String) -> [Int?] {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return [] }
    return text.split(whereSeparator: \.isWhitespace).map { Int($0) }
  }
}
