// Names compared byte by byte, as in ONNX. Swift strings are equal by Unicode equivalence ("é" in one or two
// code points), but a file may contain both forms.

/// A dictionary keyed by names of a file.
struct NameTable<Value> {
  private struct Key: Hashable {
    let name: String
    static func == (left: Key, right: Key) -> Bool { left.name.utf8.elementsEqual(right.name.utf8) }
    func hash(into hasher: inout Hasher) {
      var name = name
      name.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
  }

  private var storage: [Key: Value] = [:]

  subscript(name: String) -> Value? {
    get { storage[Key(name: name)] }
    set { storage[Key(name: name)] = newValue }
  }

  subscript(name: String, default fallback: @autoclosure () -> Value) -> Value {
    get { storage[Key(name: name)] ?? fallback() }
    set { storage[Key(name: name)] = newValue }
  }

  func contains(_ name: String) -> Bool { storage[Key(name: name)] != nil }
}
