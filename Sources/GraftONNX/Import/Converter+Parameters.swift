// Which constants of the file are weights, and which weights several nodes share.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Converter {
  /// Some exporters write weights as Constant nodes: tensors that operators with weights read directly are
  /// weights, and if no initializer is a weight, so are all others.
  mutating func adoptWeightsOfConstants() {
    let products = graph.nodes.filter {
      [.convolution, .matrix].contains(Catalog.type(of: $0.opcode)?.group)
    }
    let normalizations = graph.nodes.filter {
      Catalog.type(of: $0.opcode) is any ChannelwiseOperator.Type
    }
    func stated(_ values: some Sequence<ValueID>) -> [ValueID] {
      values.filter { id in
        graph[id].parameter?.isLiteral == true && !functionParameters.contains(id)
          && graph.type(of: id).dtype.isFloatingPoint
          && (graph.type(of: id).shape.elementCount?.constant ?? 0) > 1
      }
    }
    let weights = Set(products.flatMap(\.presentOperands))
      .filter { graph[$0].parameter != nil && !functionParameters.contains($0) }
    var adopted = stated(weights.union(normalizations.flatMap(\.presentOperands)))
    if !weights.isEmpty, weights.allSatisfy({ graph[$0].parameter?.isLiteral == true }) {
      adopted += weights + stated(graph.parameters)
    }
    for id in adopted {
      guard var parameter = graph[id].parameter else { continue }
      parameter.isLiteral = false
      graph[id].definition = .parameter(parameter)
    }
  }

  mutating func tellTiedParameters() {
    for tensor in model.graph.initializers {
      // Folded nodes do not count as readers.
      guard let places = readers[tensor.name], graph.parameter(named: tensor.name) != nil else {
        continue
      }
      let nodes = Set(places).sorted()
      guard nodes.count > 1 else { continue }
      let names = nodes.prefix(4).map { model.graph.nodes[$0].displayName.quotedForDisplay }
      let rest = nodes.count > 4 ? " and \(nodes.count - 4) more" : ""
      warnings.append(
        Warning(
          "parameter \(tensor.name.quotedForDisplay) is shared: nodes "
            + names.joined(separator: ", ") + rest + " share it"))
    }
  }
}
