// What the structure of a graph must not be, as a text that a bundle may hold.

import GraftDiagnostics
import GraftIR
import Testing

@Suite struct VerificationTests {
  private static let large = Int.max

  @Test(
    "types whose size cannot be computed are refused",
    arguments: [
      ("f32[N,3,8,8]@c\(large)", "[S6]"), ("f32[N,3,8,8]@c8b\(large)x0", "[S6]"),
      ("f32[N,3,8,8]@c8b0x\(large)", "[S6]"), ("f32[N,3,8,8]@c1048577", "[S6]"),
      ("f32[N,3]@c8", "[S6]"), ("f32[N,-3,8,8]", "[S5]"), ("f32[N,\(large),8,8]", "[S5]"),
      ("f32[0,\(large),\(large),2]", "[S5]"),
    ])
  func hostileTypes(_ type: String, _ constraint: String) throws {
    let graph = try Graph(
      parsing: """
        graph "g" {
          %0 "x" = input : \(type)
          output "y" = %0
        }
        """)
    let error = #expect(throws: GraftError.self) { try graph.verifyStructure() }
    #expect(error?.kind == .invalidGraph)
    #expect(error?.message.contains(constraint) == true, "\(error?.message ?? "")")
  }
}
