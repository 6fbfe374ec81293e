// graft dump: prints the graph at any stage as text, JSON, DOT, SVG, an HTML page or a table.

import ArgumentParser
import Foundation
import Graft
import GraftDiagnostics

struct DumpCommand: ParsableCommand, UsesPaths {
  static let configuration = CommandConfiguration(
    commandName: "dump",
    abstract: "Show a network's graph at any stage of the compiler.",
    discussion: """
      The text format is the IR's syntax, which can be parsed (docs/ir.md); JSON is documented in \
      docs/dump-format.md; html is one file for a browser, with a memory map if the stage has a memory \
      plan. --stage training shows the step that `graft finetune` would run: forward, backward, update, \
      and the frozen operators and cached values. The bundle's code is not loaded.
      """)

  enum Format: String, ExpressibleByArgument, CaseIterable {
    case text, json, dot, svg, html
  }

  @Argument(help: "An .onnx file or a bundle.", completion: .file())
  var file: String

  @Option(
    help:
      "The stage of the compiler: \(Compiler.Stage.allCases.map(\.rawValue).joined(separator: ", "))."
  )
  var stage: Compiler.Stage = .optimized

  @Option(
    help:
      "Show the graph after this pass instead of a stage; graft compile --explain lists the passes."
  )
  var after: String?

  @Option(help: "The output format: text, json, dot, svg or html. (default: text)")
  var format: Format?

  @Flag(help: "Print a table of scope, operator, shape, parameters and multiply-adds instead.")
  var summary = false

  @Option(
    help: ArgumentHelp(
      "With --stage training, the layers that train in addition to the head: none, last:N, a scope such as "
        + "layer4, or all. (default: as recorded in the bundle, or none)"))
  var unfreeze: String?

  @OptionGroup var choice: TrainingChoice
  @OptionGroup var target: TargetOption
  @OptionGroup var shapes: ProgramShapeOption

  func validate() throws {
    if stage != .training, let other = unfreeze.map({ _ in "--unfreeze" }) ?? choice.given {
      throw ValidationError("\(other) applies only with --stage training")
    }
    if let unfreeze { _ = try asUsage { try choice.options(unfreezing: unfreeze) } }
    if summary, format != nil {
      throw ValidationError("--summary is a table, so --format has no effect")
    }
    if stage == .training, after != nil {
      throw ValidationError(
        "--after names an inference pass and cannot be combined with --stage training")
    }
  }

  func pathUses() throws -> PathUses {
    var uses = PathUses()
    uses.read("FILE", file)
    return uses
  }

  func run() throws {
    if stage == .training { return try dumpTraining() }
    var options = Compiler.Options()
    let precision = try ModelBundle.precision(at: file)
    options.precision = precision
    options.target = try target.target(for: precision)
    let shapes = try shapes.parsed()
    options.inputShapes = shapes.isEmpty ? [] : [shapes]
    let compiler = Compiler(options)
    let model = try compiler.load(file)
    Console.warn(model.warnings)
    if let quantization = model.quantization { Console.note("\(file): \(quantization.summary)") }
    let moment = try at(SourceLocation(file: file)) {
      try compiler.lower(
        model.graph, to: stage, afterPass: after, quantization: model.quantization)
    }
    if summary {
      return try Console.result(try GraphSummary(moment.graph).text())
    }
    let name = after ?? stage.rawValue
    switch format ?? .text {
    case .text: try Console.raw(moment.text)
    case .json:
      try Console.result(
        try GraphDocument(
          moment.graph, stage: name, plan: moment.plan,
          scratchBytesPerThread: moment.scratchBytesPerThread
        ).json())
    case .dot: try Console.raw(GraphDiagram.dot(moment.graph))
    case .svg: try Console.raw(try GraphDiagram.svg(moment.graph))
    case .html: try Console.raw(try GraphPage.html(moment.graph, stage: name, plan: moment.plan))
    }
  }

  private func dumpTraining() throws {
    let isChosen = unfreeze != nil || choice.given != nil
    let moment = try TrainingStage(
      of: file, isChosen ? choice.options(unfreezing: unfreeze ?? "none") : nil,
      target: target.target(), inputShapes: shapes.parsed())
    if summary { return try Console.result(try GraphSummary(moment.graph).text()) }
    switch format ?? .text {
    case .text: try Console.raw(moment.text)
    case .json: try Console.result(try GraphDocument(moment).json())
    case .dot: try Console.raw(GraphDiagram.dot(moment.graph, of: moment))
    case .svg: try Console.raw(try GraphDiagram.svg(moment.graph, of: moment))
    case .html: try Console.raw(try GraphPage.html(moment))
    }
  }
}

extension Compiler.Stage: ExpressibleByArgument {}
