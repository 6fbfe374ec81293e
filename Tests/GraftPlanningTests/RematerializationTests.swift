// What is made a second time instead of being kept, and what is not.

import GraftIR
import Testing

@testable import GraftPlanning

@Suite struct RematerializationTests {
  /// A forward pass whose middle is wide, and a backward pass that reads it from the end: %12 waits for
  /// the last node but one, and is made from %11, which waits for the last.
  private func graph(last: String) throws -> Graph {
    let graph = try Graph(
      parsing: """
        graph "g" {
          %0 "x" = input : f32[N,8,4,4]
          %11 = channel_shuffle(%0) {groups=2} : f32[N,8,4,4] from "conv"
          %12 = relu(%11) : f32[N,8,4,4] from "relu"
          %13 = channel_shuffle(%12) {groups=2} : f32[N,8,4,4] from "next"
          %14 = channel_shuffle(%13) {groups=2} : f32[N,8,4,4] from "turn"
          %15 = add(%14, %13) : f32[N,8,4,4] from "back"
          %16 = channel_shuffle(%15) {groups=2} : f32[N,8,4,4] from "back2"
          %17 = add(%16, %12) : f32[N,8,4,4] from "reader"
          %18 = channel_shuffle(%17) {groups=2} : f32[N,8,4,4] from "back3"
          %19 = add(%18, \(last)) : f32[N,8,4,4] from "last"
          output "y" = %19
        }
        """)
    try graph.verify()
    return graph
  }

  @Test func aCheapValueIsMadeAgainWhereItIsReadLast() throws {
    var graph = try graph(last: "%11")
    let report = try graph.rematerialize()
    try graph.verify()
    #expect(report.again.count == 1)
    #expect(report.bytesAfter == report.bytesBefore - 8 * 4 * 4 * 4)
    let relus = graph.nodes.filter { $0.opcode == "relu" }
    #expect(relus.count == 2)
    #expect(relus.allSatisfy { $0.origins == ["relu"] && $0.operands == relus[0].operands })
    let order = graph.nodes.map { $0.origins.first ?? "" }
    #expect(
      order == [
        "conv", "relu", "next", "turn", "back", "back2", "relu", "reader", "back3", "last",
      ])
    let reader = try #require(graph.nodes.first { $0.origins == ["reader"] })
    #expect(reader.operand(1) == relus[1].results[0])
    let next = try #require(graph.nodes.first { $0.origins == ["next"] })
    #expect(next.operand(0) == relus[0].results[0])
  }

  @Test func nothingIsKeptLongerForIt() throws {
    // What the relu reads is not there any more when its result is read last.
    var graph = try graph(last: "%0")
    let before = graph.description
    let report = try graph.rematerialize()
    #expect(report.again.isEmpty)
    #expect(report.bytesAfter == report.bytesBefore)
    #expect(graph.description == before)
  }

  /// Its statistics are kept; the view of its result, which is read last, is made again with it.
  @Test func aNormalizationIsMadeAgainWithItsView() throws {
    var graph = try Graph(
      parsing: """
        graph "g" {
          %0 "x" = input : f32[N,8,16]
          %1 "scale" = parameter : f32[16]
          %2 = channel_shuffle(%0) {groups=2} : f32[N,8,16] from "conv"
          %3, %4, %5 = layer_normalization(%2, %1) {axis=2, epsilon=0.00001} : f32[N,8,16], f32[N,8,1], f32[N,8,1] from "ln"
          %6 = reshape(%3) {shape=shape [8N,16]} : f32[8N,16] from "rows"
          %7 = channel_shuffle(%6) {groups=2} : f32[8N,16] from "next"
          %8 = channel_shuffle(%7) {groups=2} : f32[8N,16] from "turn"
          %9 = add(%8, %7) : f32[8N,16] from "back"
          %10 = channel_shuffle(%9) {groups=2} : f32[8N,16] from "back2"
          %11 = add(%10, %6) : f32[8N,16] from "reader"
          %12 = reshape(%11) {shape=shape [N,8,16]} : f32[N,8,16] from "rows"
          %13 = layer_normalization_gradient(%12, %2, %1, %4, %5) {axis=2} : f32[N,8,16] from "last"
          output "y" = %13
        }
        """)
    try graph.verify()
    let report = try graph.rematerialize()
    try graph.verify()
    #expect(report.again.map { graph[$0].opcode } == ["layer_normalization", "reshape"])
    // The statistics are made again too, though nothing reads them.
    #expect(report.bytesAfter == report.bytesBefore - 8 * 16 * 4 + 2 * 8 * 4)
    let reader = try #require(graph.nodes.first { $0.origins == ["reader"] })
    #expect(reader.operand(1).flatMap { graph.producer(of: $0)?.id } == report.again.last)
    let last = try #require(graph.nodes.first { $0.origins == ["last"] })
    let first = try #require(graph.nodes.first { $0.opcode == "layer_normalization" })
    #expect(last.operands.suffix(2) == first.results.suffix(2).map { $0 })
  }
}
