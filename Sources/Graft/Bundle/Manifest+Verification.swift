// Checks the manifest against the graph, and against the targets that this version of Graft knows.

import GraftCodegen
import GraftDiagnostics
import GraftIR

extension Manifest {
  private func damaged(_ message: String) -> GraftError {
    GraftError(.invalidBundle, message, advice: "Recompile the model.")
  }

  /// - Throws: ``GraftError`` of kind `invalidBundle` if inputs, outputs, labels, preprocessing or the lists
  ///   of steps do not match the graph.
  func check(against graph: Graph) throws {
    let inputs = graph.inputs.map { Tensor(name: graph[$0].name ?? "", type: graph[$0].type) }
    let outputs = graph.outputs.map { Tensor(name: $0.name, type: graph.type(of: $0.value)) }
    guard inputs == self.inputs, outputs == self.outputs else {
      throw damaged("the manifest's inputs and outputs differ from those of the graph")
    }
    guard hasFreeBatch == graph.hasFreeBatch else {
      throw damaged("the manifest and the graph disagree on whether the batch size is dynamic")
    }
    guard work.map({ $0.count == schedule.count }) ?? true else {
      throw damaged("the manifest describes \(work?.count ?? 0) of \(schedule.count) steps")
    }
    guard arenaBytesPerImage >= 0, (scratchBytesPerThread ?? 0) >= 0 else {
      throw damaged("the manifest has a negative number of bytes")
    }
    try checkLabels(graph)
    try checkPreprocessing(graph)
  }

  /// Checks that an output has one class per label.
  private func checkLabels(_ graph: Graph) throws {
    guard let labels else { return }
    let widths = graph.outputs.compactMap { output -> Int? in
      let dimensions = graph.type(of: output.value).shape.dimensions
      return dimensions.count > 1
        ? dimensions.dropFirst().reduce(1) { product, dimension in
          product.flatMap { known in dimension.constant.map { known * $0 } }
        } : dimensions.first?.constant
    }
    // A single sigmoid unit has two classes.
    guard
      widths.contains(where: { $0 == labels.count || $0 == 1 && labels.count == 2 })
        || widths.count < graph.outputs.count
    else {
      throw damaged(
        "the manifest has \(labels.count) labels, and the output has "
          + "\(widths.map(String.init).joined(separator: ", ")) classes")
    }
  }

  private func checkPreprocessing(_ graph: Graph) throws {
    guard let preprocessing else { return }
    guard graph.inputs.count == 1, let input = graph.inputs.first,
      let shape = TensorShape(Array(graph[input].type.shape.dimensions.dropFirst())).constants
    else {
      throw damaged("the manifest has preprocessing, but the network's input is not an image")
    }
    do {
      try preprocessing.check(inputShape: shape)
      try preprocessing.check(outputShapes: graph.outputShapes)
    } catch let error as GraftError {
      throw damaged(error.message)
    }
  }

  /// - Throws: ``GraftError`` of kind `invalidBundle` for an unknown target, or other vectors or features
  ///   than the target's.
  func checkTarget() throws {
    guard target.name != "native", let known = try? CompilationTarget(named: target.name) else {
      throw damaged("the manifest has the unknown target \(target.name.quotedForDisplay)")
    }
    let features = Set(known.requiredFeatures)
    if let other = target.features.first(where: { !features.contains($0) }) {
      throw damaged(
        "the manifest requires the feature \(other.quotedForDisplay), which the target "
          + "\(target.name) does not have")
    }
    guard Set(target.features) == features, target.lanes == known.lanes else {
      throw damaged(
        "the manifest's features or vector length differ from those of the target \(target.name): "
          + "\(known.requiredFeatures.joined(separator: " ")), \(known.lanes) lanes")
    }
  }
}
