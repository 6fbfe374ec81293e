// The manifest entry of a training step: the freeze line, the trained state, and what a caller of libtrain.so
// needs to know before loading it.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Manifest {
  /// The training step of a bundle made by `graft compile --trainable`.
  public struct Training: Codable, Sendable, Equatable {
    /// A state tensor, kept between steps.
    public struct State: Codable, Sendable, Equatable {
      public var name: String
      public var shape: [Int]
      /// One of `TrainingInterface.StateRole`.
      public var role: String
      /// For a weight, the name of its parameter group.
      public var group: String?
    }

    /// The value of `--trainable` or `--unfreeze`.
    public var unfreeze: String
    public var head: String
    /// `frozen` or `train`.
    public var bn: String
    /// `sgd`, `adam` or `adamw`.
    public var optimizer: String
    public var loss: String
    /// The random seed of the new head's initial weights.
    public var seed: UInt64
    /// The values at the freeze line, which libmodel.so returns under these names and libtrain.so takes as
    /// inputs.
    public var cut: [Tensor]
    /// The last extent of targets and logits.
    public var classes: Int
    /// The parameter groups, with one row of hyperparameters each.
    public var groups: [String]
    /// The state tensors in the order of libtrain.so.
    public var states: [State]
  }

  /// The `graft finetune` run that wrote the bundle; options have the values of the command line.
  public struct FineTuning: Codable, Sendable, Equatable {
    /// The SHA-256 of the initial weights, the `weights.safetensors` of the input bundle.
    public var weightsSHA256: String
    public var unfreeze: String
    public var head: String
    /// `frozen` or `train`.
    public var bn: String
    /// `sgd`, `adam` or `adamw`.
    public var optimizer: String
    public var loss: String
    public var seed: UInt64
    /// The epoch whose weights are in the bundle.
    public var epoch: Int
    /// Nil if nothing was pruned.
    public var pruning: Pruning?

    package init(
      weightsSHA256: String, unfreeze: String, head: String, bn: String, optimizer: String,
      loss: String, seed: UInt64, epoch: Int, pruning: Pruning? = nil
    ) {
      self.pruning = pruning
      self.weightsSHA256 = weightsSHA256
      self.unfreeze = unfreeze
      self.head = head
      self.bn = bn
      self.optimizer = optimizer
      self.loss = loss
      self.seed = seed
      self.epoch = epoch
    }

    enum CodingKeys: String, CodingKey {
      case weightsSHA256 = "weights_sha256"
      case unfreeze, head, bn, optimizer, loss, seed, epoch, pruning
    }
  }

  /// What `graft finetune --prune` removed.
  public struct Pruning: Codable, Sendable, Equatable {
    /// A layer that lost outputs.
    public struct Layer: Codable, Sendable, Equatable {
      public var name: String
      public var outputsBefore: Int
      public var outputs: Int

      package init(name: String, outputsBefore: Int, outputs: Int) {
        (self.name, self.outputsBefore, self.outputs) = (name, outputsBefore, outputs)
      }

      enum CodingKeys: String, CodingKey {
        case name, outputs
        case outputsBefore = "outputs_before"
      }
    }

    /// The share of multiply-adds that was to be removed, between 0 and 1.
    public var share: Double
    /// Multiply-adds of an item in convolutions and products.
    public var multiplyAddsBefore: Int
    public var multiplyAdds: Int
    /// Elements of all parameters.
    public var parametersBefore: Int
    public var parameters: Int
    /// In execution order.
    public var layers: [Layer]

    package init(
      share: Double, multiplyAddsBefore: Int, multiplyAdds: Int, parametersBefore: Int,
      parameters: Int, layers: [Layer]
    ) {
      self.share = share
      self.multiplyAddsBefore = multiplyAddsBefore
      self.multiplyAdds = multiplyAdds
      self.parametersBefore = parametersBefore
      self.parameters = parameters
      self.layers = layers
    }

    enum CodingKeys: String, CodingKey {
      case share, parameters, layers
      case multiplyAddsBefore = "multiply_adds_before"
      case multiplyAdds = "multiply_adds"
      case parametersBefore = "parameters_before"
    }
  }

  /// - Throws: ``GraftError`` of kind `invalidBundle` if the training entry is inconsistent with the files or
  ///   the graph.
  func checkTraining(against graph: Graph) throws {
    let names = [
      BundleLayout.trainingLibrary, BundleLayout.trainingWeights, BundleLayout.trainingHeader,
    ]
    guard let training else {
      if let name = names.first(where: { files[$0] != nil }) {
        throw GraftError(
          .invalidBundle, "the bundle has \(name), but the manifest has no training entry")
      }
      return
    }
    if let name = names.first(where: { files[$0] == nil }) {
      throw GraftError(.invalidBundle, "the manifest has a training entry, but no \(name)")
    }
    guard !training.cut.isEmpty else {
      throw GraftError(.invalidBundle, "the training entry lists no value at the freeze line")
    }
    for state in training.states {
      guard let role = TrainingInterface.StateRole(rawValue: state.role) else {
        throw GraftError(
          .invalidBundle,
          "state \(state.name.quotedForDisplay) has the role \(state.role.quotedForDisplay)")
      }
      guard role.isOfNetwork else { continue }
      let found = graph.parameter(named: state.name).map { graph.type(of: $0) }
      guard let found, found.dtype == .float32, found.shape.constants == state.shape else {
        throw GraftError(
          .invalidBundle,
          "the training entry has the \(state.role) \(state.name.quotedForDisplay) of shape "
            + "\(state.shape), the graph has \(found.map { "\($0)" } ?? "none")")
      }
      guard role == .statistic || state.group.map(training.groups.contains) == true else {
        throw GraftError(
          .invalidBundle, "the weight \(state.name.quotedForDisplay) is in no parameter group")
      }
    }
  }
}
