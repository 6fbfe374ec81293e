// The house rules that a machine can check: the direction of imports, that documents name only what
// exists, and that nothing input can reach is written as a trap.

import Foundation
import GraftOps
import Testing

private let root = URL(filePath: #filePath).deletingLastPathComponent()
  .deletingLastPathComponent().deletingLastPathComponent()

private func files(in folder: String, suffix: String) throws -> [(path: String, text: String)] {
  let start = root.appending(path: folder)
  let names = FileManager.default.enumerator(atPath: start.path)?.compactMap { $0 as? String } ?? []
  return try names.filter { $0.hasSuffix(suffix) && !$0.contains("/generated/") }.sorted().map {
    ("\(folder)/\($0)", try String(contentsOf: start.appending(path: $0), encoding: .utf8))
  }
}

@Suite struct ArchitectureTests {
  /// What each room may import of this package, and nothing else.
  static let allowed: [String: Set<String>] = [
    "GraftDiagnostics": [],
    "GraftSystem": [],
    "GraftIR": ["GraftDiagnostics", "CProcess"],
    "GraftOps": ["GraftIR", "GraftDiagnostics"],
    "GraftONNX": ["GraftOps", "GraftIR", "GraftDiagnostics", "COnnxProto", "COnnxChecker"],
    "GraftPasses": ["GraftOps", "GraftIR", "GraftDiagnostics"],
    "GraftPlanning": ["GraftOps", "GraftIR", "GraftDiagnostics"],
    "GraftAutodiff": ["GraftOps", "GraftIR", "GraftDiagnostics"],
    "GraftCodegen": [
      "GraftOps", "GraftIR", "GraftSystem", "GraftDiagnostics", "CGraftABI", "CProcess",
    ],
    "GraftRuntime": ["GraftOps", "GraftIR", "GraftDiagnostics", "CGraftABI"],
    "GraftData": [
      "GraftOps", "GraftIR", "GraftSystem", "GraftDiagnostics", "CImageCodecs", "CFileSystem",
      "CProcess", "CTensorBoard", "CCairo",
    ],
    "Graft": [
      "GraftONNX", "GraftPasses", "GraftPlanning", "GraftAutodiff", "GraftCodegen",
      "GraftRuntime", "GraftData", "GraftOps", "GraftIR", "GraftSystem", "GraftDiagnostics",
      "CProcess",
    ],
    "GraftTraining": [
      "Graft", "GraftPlanning", "GraftAutodiff", "GraftCodegen", "GraftRuntime", "GraftData",
      "GraftOps", "GraftIR", "GraftDiagnostics",
    ],
    "GraftCLI": ["GraftTraining", "Graft", "GraftDiagnostics", "CExhaustion"],
  ]

  @Test(arguments: allowed.keys.sorted())
  func importsOnlyDownwards(_ room: String) throws {
    let sources = try files(in: "Sources/\(room)", suffix: ".swift")
    #expect(!sources.isEmpty)
    for (path, text) in sources {
      for line in text.split(separator: "\n") {
        let words = line.split(separator: " ")
        guard let position = words.firstIndex(of: "import"), position + 1 < words.count,
          words[..<position].allSatisfy({ $0.hasPrefix("@") || $0 == "public" })
        else { continue }
        let module = words[position + 1].split(separator: ".").first.map(String.init) ?? ""
        let isOurs =
          module.hasPrefix("Graft")
          || FileManager.default.fileExists(atPath: root.appending(path: "Sources/\(module)").path)
        if isOurs {
          #expect(Self.allowed[room]?.contains(module) == true, "\(path) imports \(module)")
        }
      }
    }
  }

  /// The files that name operators of the catalog in decisions, and which. All other code asks an operator for
  /// what it needs to know (``Operator``), so that a new one is right everywhere. Kernel families say what they
  /// serve; these are about particular operators by what they do.
  static let namedOperators: [String: (names: Set<String>, why: String)] = [
    "GraftAutodiff/Surgery/ClassAxes.swift": (
      ["Reshape", "Expand"], "the two that name the number of classes in an attribute"
    ),
    "GraftAutodiff/Surgery/Ending.swift": (
      ["Clip"], "exporters limit probabilities with it"
    ),
    "GraftAutodiff/Surgery/Head.swift": (
      ["Convolution", "Gemm", "MatrixMultiply"],
      "a head is one of three, which differ in their weights"
    ),
    "GraftAutodiff/Surgery/HeadReplacement.swift": (
      ["Convolution", "Add"], "a new head is of the old one's kind, with its Add of a bias"
    ),
    "GraftAutodiff/Training/TrainingGraph.swift": (
      ["BatchNormalization", "Dropout"],
      "training gives a normalization its batch's statistics, and makes a dropout random"
    ),
    "GraftPasses/Fuse/FoldAttentionViews.swift": (
      ["Transpose"], "the movement that an attention can write through"
    ),
    "GraftPasses/Fuse/FuseAttention.swift": (
      ["MatrixMultiply", "Softmax", "Add", "Multiply", "Divide"], "parts of what it recognizes"
    ),
    "GraftPasses/Fuse/FoldColumnScale.swift": (
      ["Gemm", "Transpose"], "whose columns are scaled, and what may move them"
    ),
    "GraftPlanning/Rematerialization.swift": (
      ["LayerNormalization", "Transpose", "ConvertLayout"], "of other operators, those of one pass"
    ),
    "GraftPasses/Rewriting/MovementChain.swift": (
      ["Transpose", "Slice", "Split"], "the movements that a view has strides for"
    ),
    "GraftPasses/Simplify/SinkRowTransposes.swift": (
      ["Reshape", "Transpose", "Slice", "Attention"], "what moves, and what takes it in"
    ),
    "GraftPasses/Fuse/LowerToScaleShift.swift": (["ScaleShift"], "what it makes it leaves"),
    "GraftPasses/Quantize/LowerToBytes.swift": (
      ["Quantize", "Dequantize"], "the conversions that it takes in"
    ),
    "GraftPasses/Layout/AssignLayout.swift": (["ConvertLayout"], "what it puts in it takes out"),
    "GraftPasses/Simplify/LowerMatrixMultiply.swift": (
      ["MatrixMultiply"], "a MatMul becomes a Gemm"
    ),
    "GraftPasses/Simplify/RecognizeActivations.swift": (
      ["Sigmoid", "ErrorFunction"], "a part of what it recognizes"
    ),
    "GraftPasses/Simplify/RecognizeChannelShuffle.swift": (
      ["Reshape"], "a part of what it recognizes"
    ),
    "GraftPasses/Simplify/SimplifyGlobalPools.swift": (
      ["ReduceMean", "AveragePool", "MaxPool"], "three that may be a global pool"
    ),
    "GraftPasses/Simplify/SinkReshapes.swift": (["Reshape"], "what it moves"),
    "GraftPasses/Simplify/WidenFloats.swift": (
      ["Cast", "ConstantOfShape"], "the two that name an element type in an attribute"
    ),
  ]

  @Test func operatorsAreAskedNotNamed() throws {
    let names = Set(Catalog.operators.map { String(describing: $0) })
    var unused = Self.namedOperators.mapValues(\.names)
    for (path, text) in try files(in: "Sources", suffix: ".swift") {
      let file = String(path.dropFirst("Sources/".count))
      let own = ["GraftOps/", "GraftCodegen/Kernels/", "GraftCodegen/Selection/"]
      guard text.contains("import GraftOps"), !own.contains(where: file.hasPrefix) else { continue }
      for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false)
        .enumerated()
      where line.contains(" is ") || line.contains(" as") || line.contains(".opcode") {
        let code = line.split(separator: "//", omittingEmptySubsequences: false).first ?? ""
        let named =
          code.matches(of: /\b(?:is|as\??) ([A-Z]\w*)/).map { String($0.output.1) }
          + code.matches(of: /\b([A-Z]\w*)\.opcode\b/).map { String($0.output.1) }
        for name in named where names.contains(name) {
          unused[file]?.remove(name)
          #expect(
            Self.namedOperators[file]?.names.contains(name) == true,
            "\(file):\(number + 1) names \(name): ask the operator for a facet instead")
        }
      }
    }
    for (file, names) in unused where !names.isEmpty {
      Issue.record("\(file) no longer names \(names.sorted()): take them off the list")
    }
  }

  /// Lines that may trap, by their beginning: identifiers come from the graph itself, never from a file, and
  /// a subscript cannot throw.
  static let trapsOfProgrammers = [
    "guard let value = values[id.index] else { preconditionFailure(",
    "preconditionFailure(\"node \\(id.index) was removed\")",
  ]

  @Test func nothingThatInputReachesTraps() throws {
    let forbidden = [
      "fatalError(", "try!", " as! ", "unsafelyUnwrapped", "preconditionFailure(", "precondition(",
      "assertionFailure(", "assert(",
    ]
    for (path, text) in try files(in: "Sources", suffix: ".swift")
    where text.utf8.contains(UInt8(ascii: "!")) || forbidden.contains(where: text.contains) {
      var isInText = false
      for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false)
        .enumerated()
      {
        let wasInText = isInText
        if line.components(separatedBy: "\"\"\"").count.isMultiple(of: 2) { isInText.toggle() }
        // Regular expressions are slow where nothing is optimized: they look at suspects only.
        guard !wasInText, !isInText,
          line.utf8.contains(UInt8(ascii: "!")) || forbidden.contains(where: line.contains),
          !Self.trapsOfProgrammers.contains(where: line.contains)
        else { continue }
        let bare = line.replacing(/#"(?:[^"]|"(?!#))*"#/, with: "")
          .replacing(/"(?:\\.|[^"\\])*"/, with: "")
        let code = bare.split(separator: "//", omittingEmptySubsequences: false).first ?? ""
        for word in forbidden where code.contains(word) {
          Issue.record("\(path):\(number + 1) has \(word)")
        }
        if code.contains(/[\w)\]}]!(?!=)/) {
          Issue.record("\(path):\(number + 1) unwraps by force")
        }
      }
    }
  }

  /// A word in backquotes that looks like a Swift type must be declared somewhere.
  @Test func documentsNameOnlyWhatExists() throws {
    let declared = try Self.declaredTypes(
      files(in: "Sources", suffix: ".swift") + files(in: "Tests", suffix: ".swift"))
    let documents =
      try files(in: "docs", suffix: ".md")
      + ["README.md", "CONTRIBUTING.md"].map {
        ($0, try String(contentsOf: root.appending(path: $0), encoding: .utf8))
      }
    #expect(documents.count > 3)
    for (path, text) in documents {
      for match in text.matches(of: /`([A-Z][A-Za-z]+)(?:\.[a-z][A-Za-z]*)?`/) {
        let name = String(match.output.1)
        guard name.dropFirst().contains(where: \.isLowercase),
          name.dropFirst().contains(where: \.isUppercase)
        else { continue }
        let exists =
          declared.contains(name)
          || FileManager.default.fileExists(atPath: root.appending(path: "Sources/\(name)").path)
          || FileManager.default.fileExists(atPath: root.appending(path: "Tests/\(name)").path)
        #expect(exists, "\(path) names \(name)")
      }
      for match in text.matches(of: /\]\(([^)#:]+)(?:#[^)]*)?\)/) {
        let target = root.appending(path: path).deletingLastPathComponent()
          .appending(path: String(match.output.1)).standardizedFileURL
        #expect(
          FileManager.default.fileExists(atPath: target.path),
          "\(path) links to \(match.output.1)")
      }
    }
  }

  /// The names behind every keyword that declares a type.
  private static func declaredTypes(_ files: [(path: String, text: String)]) -> Set<String> {
    let keywords: Set<Substring> = ["struct", "enum", "class", "protocol", "typealias", "actor"]
    var names = Set<String>()
    for (_, text) in files {
      var isDeclared = false
      for word in text.split(whereSeparator: { $0 == " " || $0 == "\n" }) {
        if isDeclared {
          names.insert(String(word.prefix { $0.isLetter || $0.isNumber || $0 == "_" }))
        }
        isDeclared = keywords.contains(word)
      }
    }
    return names
  }
}
