// File names for tensors, whose names may contain any characters.

/// The file name of a tensor in a folder of tensors.
public enum TensorFileName {
  /// `name` with characters percent-encoded that are invalid or unusual in a file name (`/`, control
  /// characters, a leading dot, `%`), then `.npy`. The mapping is injective: a name that would be too long is
  /// truncated and gets a hash.
  public static func npy(_ name: String) -> String {
    var bytes: [UInt8] = []
    for byte in name.utf8 {
      let isDot = byte == UInt8(ascii: ".") && bytes.isEmpty
      let isSlash = byte == UInt8(ascii: "/")
      if byte < 0x20 || byte == 0x7F || isSlash || byte == UInt8(ascii: "%") || isDot {
        bytes += Array(escape(byte).utf8)
      } else {
        bytes.append(byte)
      }
    }
    if bytes.isEmpty { bytes = Array("%".utf8) }
    let limit = 200
    if bytes.count > limit {
      // FNV-1a, 64 bits, is sufficient for the tensors of one network.
      let hash = name.utf8.reduce(0xCBF2_9CE4_8422_2325 as UInt64) {
        ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3
      }
      var kept = bytes.prefix(limit)
      // Not in the middle of a character.
      while let last = kept.last, last & 0xC0 == 0x80 { kept.removeLast() }
      if let last = kept.last, last & 0xC0 == 0xC0 { kept.removeLast() }
      bytes = Array(kept) + Array("%".utf8) + Array(String(hash, radix: 16).utf8)
    }
    return String(decoding: bytes, as: UTF8.self) + ".npy"
  }

  private static func escape(_ byte: UInt8) -> String {
    let digits = String(byte, radix: 16, uppercase: true)
    return byte < 16 ? "%0\(digits)" : "%\(digits)"
  }
}
