// The name of the processor, as a key of measurements.

import Foundation

/// The processor's name as the kernel gives it.
enum ProcessorName {
  static let current = describe(
    (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? "")

  /// The identifying fields of the first core in the text of /proc/cpuinfo, on x86 and Arm.
  static func describe(_ text: String) -> String {
    let keys = [
      "vendor_id", "cpu family", "model", "model name", "stepping", "cache size", "CPU implementer",
      "CPU part", "CPU variant",
    ]
    let core = text.components(separatedBy: "\n\n").first ?? ""
    let values = core.split(separator: "\n").compactMap { line -> String? in
      let parts = line.split(separator: ":", maxSplits: 1)
      guard parts.count == 2, keys.contains(parts[0].trimmingCharacters(in: .whitespaces)) else {
        return nil
      }
      return parts[1].trimmingCharacters(in: .whitespaces)
    }
    return values.joined(separator: ", ")
  }
}
