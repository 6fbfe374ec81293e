// Bundles that were changed by hand, with digests that fit.

import Crypto
import Foundation
import Testing

private func digest(_ data: Data) -> String {
  SHA256.hash(data: data).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

/// Makes every digest of a bundle fit its files, and changes the manifest on the way.
func mend(_ bundle: URL, _ change: (inout [String: Any]) -> Void = { _ in }) throws {
  let url = bundle.appending(path: "manifest.json")
  let parsed = try JSONSerialization.jsonObject(with: try Data(contentsOf: url))
  var manifest = try #require(parsed as? [String: Any])
  var files: [String: Any] = [:]
  for name in try FileManager.default.contentsOfDirectory(atPath: bundle.path)
  where !name.hasPrefix("manifest.") {
    let data = try Data(contentsOf: bundle.appending(path: name))
    files[name] = ["bytes": data.count, "sha256": digest(data)] as [String: Any]
  }
  manifest["files"] = files
  change(&manifest)
  let data = try JSONSerialization.data(withJSONObject: manifest, options: [.sortedKeys])
  try data.write(to: url)
  try Data((digest(data) + "\n").utf8).write(to: bundle.appending(path: "manifest.sha256"))
}
