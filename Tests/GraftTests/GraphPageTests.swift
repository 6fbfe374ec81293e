// The page of `graft dump --format html`: names stay data, nothing comes from elsewhere, the page
// knows every operator of the catalog. Where node is installed its layout is checked as geometry.

import Crypto
import Foundation
import GraftIR
import GraftOps
import Testing

@testable import Graft

@Suite struct GraphPageTests {
  private let plain = """
    graph "small" {
      %0 "x" = input : f32[N,3,8,8]
      %1 "conv.weight" = parameter : f32[4,3,3,3]
      %2 = convolution(%0, %1) {pads=[1,1,1,1], strides=[1,1]} : f32[N,4,8,8] from "conv"
      %3 = relu(%2) : f32[N,4,8,8] from "relu"
      output "y" = %3
    }
    """

  /// A graph whose every name is `name`.
  private func graph(named name: String) -> Graph {
    let type = TensorType(.float32, [.batch, 4])
    var graph = Graph(name: name)
    let input = graph.addInput(name, type)
    let scale = graph.addParameter(
      name + ".", TensorType(.float32, [4]), Parameter(group: name, derivation: name))
    let sum = graph.addNode(
      "add", [input, scale], types: [type], names: [name], origins: [name, name])
    graph.outputs = [GraphOutput(name: name, value: sum[0])]
    return graph
  }

  /// What stands between `<script …id="ID">` and the first `</script`, where a browser ends it too.
  private func script(_ id: String?, in page: String) throws -> String {
    let open = id.map { "<script type=\"application/json\" id=\"\($0)\">" } ?? "<script>"
    let start = try #require(page.range(of: open))
    let end = try #require(
      page[start.upperBound...].range(of: "</script", options: .caseInsensitive))
    return String(page[start.upperBound..<end.lowerBound])
  }

  private func count(_ needle: String, in text: String) -> Int {
    text.lowercased().components(separatedBy: needle).count - 1
  }

  @Test(arguments: [
    "</script><script>alert(1)", "</SCRIPT >", "<!--<script>", "]]>",
    "\"><img src=x onerror=alert(1)>",
    "{{script}}", "{{graph}}", "${alert(1)}", "\\u003c/script>", "a\nb\r\u{2028}\u{2029}\0c",
    "\u{202e}gnp.exe", "🦊",
  ])
  func namesStayData(name: String) throws { try expectData(name) }

  @Test func namesOfAnyLengthStayData() throws {
    try expectData(String(repeating: "<long>", count: 2_000))
  }

  private func expectData(_ name: String) throws {
    let graph = graph(named: name)
    let page = try GraphPage.html(graph, stage: name)
    let harmless = try GraphPage.html(self.graph(named: "name"), stage: "import")
    for needle in ["<script", "</script", "<!--", "<img", "\u{2028}", "\u{2029}", "\0"] {
      #expect(count(needle, in: page) == count(needle, in: harmless), "\(needle.debugDescription)")
    }
    // Everything outside the data is the same, whatever the names.
    let data = try script("graph", in: page)
    #expect(
      page.replacing(data, with: "")
        == harmless.replacing(
          try script("graph", in: harmless), with: ""))
    let parsed = try JSONSerialization.jsonObject(with: Data(data.utf8)) as? NSDictionary
    let document = try GraphDocument(graph, stage: name).json()
    let expected = try JSONSerialization.jsonObject(with: Data(document.utf8)) as? NSDictionary
    #expect(try #require(parsed) == #require(expected))
    #expect(parsed?["name"] as? String == name)
  }

  @Test func nothingComesFromElsewhere() throws {
    let page = try GraphPage.html(try Graph(parsing: plain), stage: "import").lowercased()
    for needle in [
      "://", "\"//", "src=", "href=", "@import", "import(", "fetch(", "xmlhttprequest",
      "eval(", "innerhtml", "outerhtml", "insertadjacent", "document.write",
    ] {
      #expect(!page.contains(needle), "the page has \(needle)")
    }
    // A drawing may refer to its own parts.
    #expect(page.range(of: "url\\([^#]", options: .regularExpression) == nil)
  }

  @Test func thePolicyAllowsThePagesOwnScriptAndStyleAlone() throws {
    let page = try GraphPage.html(try Graph(parsing: plain), stage: "import")
    let style = try #require(page.range(of: "<style>"))
    let end = try #require(page.range(of: "</style>"))
    let own = [try script(nil, in: page), String(page[style.upperBound..<end.lowerBound])]
    let digests = own.map {
      "'sha256-\(Data(SHA256.hash(data: Data($0.utf8))).base64EncodedString())'"
    }
    #expect(
      page.contains(
        "content=\"default-src 'none'; script-src \(digests[0]); style-src \(digests[1]); "))
    // Styles and handlers in attributes would be refused by the browser.
    #expect(!page.contains(" style=\""))
    #expect(page.range(of: "<[a-z][^>]* on[a-z]+=", options: .regularExpression) == nil)
  }

  @Test func thePageIsTheSameEveryTime() throws {
    let graph = try Graph(parsing: plain)
    let first = try GraphPage.html(graph, stage: "import")
    #expect(try GraphPage.html(graph, stage: "import") == first)
    #expect(!first.contains("{{"))
  }

  @Test func theMemoryPlanTravelsAlong() throws {
    let graph = try Graph(parsing: plain)
    let value = try #require(graph.nodes.first?.results.first)
    let plan = MemoryPlan(
      placements: [
        value: Placement(offset: 64, byteCount: 1024, isPerBatch: true, lifetime: 0...1)
      ], arenaBytesPerBatch: 1088, lowerBoundBytes: 1024)
    let data = try script("graph", in: try GraphPage.html(graph, stage: "memory", plan: plan))
    let parsed = try JSONSerialization.jsonObject(with: Data(data.utf8)) as? [String: Any]
    let memory = try #require(parsed?["memory"] as? [String: Any])
    #expect(memory["arena_bytes"] as? Int == 1088)
    let place = try #require((memory["placements"] as? [[String: Any]])?.first)
    #expect(place["offset"] as? Int == 64)
    #expect(place["last_step"] as? Int == 1)
  }

  /// The script names each group in the legend, and the style sheet has a color for it.
  @Test(arguments: OperatorGroup.allCases)
  func everyGroupIsInTheLegend(_ group: OperatorGroup) throws {
    let families = try #require(
      GraphPage.script.firstMatch(of: /const families = \{(?<body>(?s:.*?))\n\};/))
    #expect(families.body.contains("  \(group.rawValue): {"))
    #expect(GraphPage.style.contains("--\(group.rawValue):"))
  }

  /// A freeze line speaks the user's names, so the summary does too, whatever passes made of them.
  @Test func theSummaryNamesScopesAsTheModelDoes() throws {
    let graph = try Graph(
      parsing: """
        graph "small" {
          %0 "x" = input : f32[N,4,8,8]
          %1 "layer1.0.conv.weight.folded.folded" = parameter {derivation="folded"} : f32[4,4,1,1]
          %2 "bn.weight.scale" = parameter {derivation="lowered"} : f32[4]
          %3 "bn.weight.shift" = parameter {derivation="lowered"} : f32[4]
          %4 "folded.scale" = parameter : f32[4]
          %5 = convolution(%0, %1) {pads=[0,0,0,0], strides=[1,1]} : f32[N,4,8,8] from "a"
          %6 = scale_shift(%5, %2, %3) : f32[N,4,8,8] from "b"
          %7 = scale_shift(%6, %4, %4) : f32[N,4,8,8] from "c"
          %8 = relu(%7) : f32[N,4,8,8] from "d"
          output "y" = %8
        }
        """)
    #expect(try GraphSummary(graph).rows.map(\.scope) == ["layer1.0.conv", "bn", "folded", "d"])
  }

  // The layout's geometry

  private static let node = ["/usr/bin/node", "/usr/local/bin/node"].first {
    FileManager.default.isExecutableFile(atPath: $0)
  }

  /// Blocks as of DenseNet: each layer reads all those before it.
  private func denseBlock(layers: Int) -> Graph {
    let type = TensorType(.float32, [.batch, 4, 8, 8])
    var graph = Graph(name: "dense")
    var features = [graph.addInput("x", type)]
    for layer in 0..<layers {
      let wide = TensorType(.float32, [.batch, .init(4 * features.count), 8, 8])
      let concat = graph.addNode(
        "concat", features, ["axis": .int(1)], types: [wide], origins: ["concat\(layer)"])
      let weight = graph.addParameter(
        "w\(layer)", TensorType(.float32, [4, .init(4 * features.count), 1, 1]))
      let pads: Attributes = ["pads": .ints([0, 0, 0, 0]), "strides": .ints([1, 1])]
      features += graph.addNode(
        "convolution", [concat[0], weight], pads, types: [type], origins: ["conv\(layer)"])
    }
    graph.outputs = [GraphOutput(name: "y", value: features[layers])]
    return graph
  }

  /// Branches of unlike length from one value to one sum, a shortcut past all of them, and an input
  /// that only the last node reads.
  private func branches() -> Graph {
    let type = TensorType(.float32, [.batch, 4, 8, 8])
    var graph = Graph(name: "branches")
    let start = graph.addInput("x", type)
    let late = graph.addInput("late", type)
    var last = start
    for block in 0..<12 {
      let ends = (0..<4).map { branch in
        (0..<branch).reduce(last) { value, step in
          graph.addNode(
            "relu", [value], types: [type], origins: ["relu\(block).\(branch).\(step)"])[0]
        }
      }
      last = graph.addNode("sum", ends, types: [type], origins: ["sum\(block)"])[0]
    }
    let all = graph.addNode("sum", [last, late, start], types: [type], origins: ["all"])
    graph.outputs = [GraphOutput(name: "y", value: all[0])]
    return graph
  }

  @Test(
    .enabled(if: node != nil, "node checks the layout, and is not installed"), arguments: [0, 1])
  func boxesAndLinesKeepApart(which: Int) throws {
    let graph = which == 0 ? denseBlock(layers: 24) : branches()
    let root = URL(filePath: #filePath).deletingLastPathComponent()
    let file = FileManager.default.temporaryDirectory.appending(path: "\(UUID().uuidString).json")
    defer { try? FileManager.default.removeItem(at: file) }
    try Data(try GraphDocument(graph, stage: "import").json().utf8).write(to: file)
    let process = Process()
    process.executableURL = URL(filePath: try #require(Self.node))
    process.arguments = [
      root.appending(path: "PageLayout/check.js").path(percentEncoded: false),
      root.appending(path: "../../Sources/Graft/Dump/Page").path(percentEncoded: false),
      file.path(percentEncoded: false),
    ]
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let found = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    #expect(found == "")
    #expect(process.terminationStatus == 0)
  }
}
