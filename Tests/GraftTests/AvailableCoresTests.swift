// What a container's quota leaves of the cores, from made-up files of both versions of cgroups.

import Foundation
import GraftTesting
import Testing

@testable import Graft

@Suite struct AvailableCoresTests {
  /// Files below a root: a path and a text each.
  private func quota(_ files: [String: String]) throws -> Int {
    try withTemporaryFolder { root in
      for (path, text) in files {
        let url = URL(filePath: root + path)
        try FileManager.default.createDirectory(
          at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: url)
      }
      return AvailableCores.quota(systemRoot: root)
    }
  }

  @Test func versionTwo() throws {
    let own = "/sys/fs/cgroup/a/b/cpu.max"
    for (text, cores) in [
      ("200000 100000\n", 2), ("150000 100000\n", 2), ("120000 100000\n", 1),
      ("5000 100000\n", 1), ("max 100000\n", Int.max), ("400000 50000\n", 8),
    ] {
      #expect(try quota(["/proc/self/cgroup": "0::/a/b\n", own: text]) == cores, "\(text)")
    }
    // The folder around it has less.
    #expect(
      try quota([
        "/proc/self/cgroup": "0::/a/b\n", own: "max 100000",
        "/sys/fs/cgroup/a/cpu.max": "300000 100000",
      ]) == 3)
    // Inside a container the path is the host's.
    #expect(
      try quota([
        "/proc/self/cgroup": "0::/docker/1f\n", "/sys/fs/cgroup/cpu.max": "100000 100000",
      ]) == 1)
  }

  @Test func versionOne() throws {
    for mount in ["cpu,cpuacct", "cpu"] {
      for folder in ["/\(mount)/docker/1f", "/\(mount)"] {
        let files = [
          "/proc/self/cgroup": "5:memory:/docker/1f\n4:cpu,cpuacct:/docker/1f\n",
          "/sys/fs/cgroup\(folder)/cpu.cfs_quota_us": "200000\n",
          "/sys/fs/cgroup\(folder)/cpu.cfs_period_us": "100000\n",
        ]
        #expect(try quota(files) == 2, "\(folder)")
      }
    }
    #expect(
      try quota([
        "/proc/self/cgroup": "4:cpu,cpuacct:/\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
      ]) == .max)
  }

  @Test func withoutGroups() throws {
    #expect(try quota([:]) == .max)
    #expect(try quota(["/proc/self/cgroup": "nonsense\n0::\n"]) == .max)
  }
}
