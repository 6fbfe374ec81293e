// Warnings and notes that work produces beside its result: collected by the caller, printed by the
// command line on standard error.

/// Something that the user should know, but that did not stop the work.
public struct Warning: Hashable, Sendable {
  public var message: String
  public var location: SourceLocation

  public init(_ message: String, at location: SourceLocation = SourceLocation()) {
    self.message = message
    self.location = location
  }
}
