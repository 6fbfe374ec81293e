// graft export: writes a bundle's graph as a standard ONNX file.

import ArgumentParser
import Graft

struct ExportCommand: ParsableCommand, UsesPaths {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Write a bundle's graph as ONNX, unfused and with the original names.",
    discussion:
      "Writes opset 17, or the opset of the imported file if newer. The bundle's code is not loaded."
  )

  @Argument(help: "The bundle.", completion: .directory)
  var bundle: String

  @Option(
    name: [.short, .long], help: "The ONNX file to write.", completion: .file(extensions: ["onnx"]))
  var output: String

  @Flag(help: "Write the optimized graph with folded weights instead.")
  var fused = false

  @Flag(
    help: ArgumentHelp(
      "Write a network on bytes as it computes: float operators between QuantizeLinear and DequantizeLinear, with int8 "
        + "weights, which onnxruntime and OpenVINO run on their own int8 kernels.")
  )
  var quantized = false

  @OptionGroup var shapes: ProgramShapeOption

  func validate() throws {
    if fused, quantized {
      throw ValidationError("--quantized writes the optimized graph too: leave out --fused")
    }
  }

  func pathUses() throws -> PathUses {
    var uses = PathUses()
    uses.read("BUNDLE", bundle)
    uses.write("-o", output, .file)
    return uses
  }

  func run() throws {
    let opened = try ModelBundle(opening: bundle)
    let written = try Exporter.export(
      opened, to: output, as: quantized ? .quantized : fused ? .optimized : .imported,
      inputShapes: shapes.parsed())
    if opened.manifest.precision == .int8, !quantized {
      Console.note(
        "\(bundle): computes in int8; the network is exported in float32, from which it was made; "
          + "--quantized writes it as it computes")
    }
    Console.note(
      "\(output): \(written.nodes) nodes, opset \(written.opset), \(written.bytes.asBytes)")
  }
}
