// Warnings: collected by callers, printed by the command line on standard error.

/// A problem that does not stop the work.
public struct Warning: Hashable, Sendable {
  public var message: String
  public var location: SourceLocation

  public init(_ message: String, at location: SourceLocation = SourceLocation()) {
    self.message = message
    self.location = location
  }
}
