// Checks the manifest against the graph, and against the targets that this version of Graft knows.

import GraftCodegen
import GraftDiagnostics
import GraftIR

extension Manifest {
  private func damaged(_ message: String) -> GraftError {
    GraftError(.invalidBundle, message, advice: "Recompile the model.")
  }

  /// - Parameter graphs: that of each program.
  /// - Throws: ``GraftError`` of kind `invalidBundle` if inputs, outputs, labels, preprocessing or the lists
  ///   of steps do not match the graphs.
  func check(against graphs: [Graph]) throws {
    for (program, graph) in zip(programs, graphs) {
      try check(program, against: graph)
      try checkLabels(graph)
    }
    for (index, program) in programs.enumerated()
    where programs[..<index].contains(where: { $0.inputs == program.inputs }) {
      throw damaged("the manifest has two programs for the same input shapes")
    }
    try checkPreprocessing(graphs)
  }

  private func check(_ program: Program, against graph: Graph) throws {
    let inputs = graph.inputs.map { Tensor(name: graph[$0].name ?? "", type: graph[$0].type) }
    let outputs = graph.outputs.map { Tensor(name: $0.name, type: graph.type(of: $0.value)) }
    guard inputs == program.inputs, outputs == program.outputs else {
      throw damaged("the manifest's inputs and outputs differ from those of the graph")
    }
    guard program.hasFreeBatch == graph.hasFreeBatch else {
      throw damaged("the manifest and the graph disagree on whether the batch size is dynamic")
    }
    guard program.work.map({ $0.count == program.schedule.count }) ?? true else {
      throw damaged(
        "the manifest describes \(program.work?.count ?? 0) of \(program.schedule.count) steps")
    }
    guard program.arenaBytesPerImage >= 0, (program.scratchBytesPerThread ?? 0) >= 0 else {
      throw damaged("the manifest has a negative number of bytes")
    }
  }

  /// Checks that an output has one class per label.
  private func checkLabels(_ graph: Graph) throws {
    guard let labels else { return }
    let widths = graph.outputs.enumerated().compactMap { index, output -> Int? in
      let dimensions = graph.type(of: output.value).shape.dimensions
      if let classAxis, index == classOutput ?? 0, dimensions.indices.contains(classAxis) {
        return dimensions[classAxis].constant
      }
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

  /// Checks that the preprocessing makes the input of a program.
  private func checkPreprocessing(_ graphs: [Graph]) throws {
    guard let preprocessing else { return }
    let shapes = graphs.compactMap { graph -> [Int]? in
      guard graph.inputs.count == 1, let input = graph.inputs.first else { return nil }
      return TensorShape(Array(graph[input].type.shape.dimensions.dropFirst())).constants
    }
    guard let first = shapes.first, shapes.count == graphs.count else {
      throw damaged("the manifest has preprocessing, but the network's input is not an image")
    }
    do {
      if !shapes.contains(where: preprocessing.gives) {
        try preprocessing.check(inputShape: first)
      }
      try preprocessing.check(outputShapes: graphs.flatMap(\.outputShapes))
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
