// Wrong usage: status 64, and what would do.

import GraftTesting
import Testing

@Suite("Wrong usage")
struct UsageTests {
  private func expectUsage(
    _ arguments: [String], saying fragment: String,
    sourceLocation: Testing.SourceLocation = #_sourceLocation
  ) throws {
    let result = try GraftProgram.run(arguments)
    #expect(result.status == 64, "\(arguments): \(result.errors)", sourceLocation: sourceLocation)
    #expect(
      result.errors.contains(fragment), "\(arguments): \(result.errors)",
      sourceLocation: sourceLocation)
  }

  @Test(
    "invalid values of options of finetune, and options without effect",
    arguments: [
      (["--schedule", "linear"], "constant, step, cosine"), (["--epochs", "0"], "from 1"),
      (["--optimizer", "rmsprop"], "sgd, adam, adamw"), (["--lr", "0"], "greater than 0"),
      (["--lr", "nan"], "greater than 0"), (["--val-split", "1"], "below 1"),
      (["--head", "mlp:0"], "mlp:K"), (["--unfreeze", "last:0"], "last:N"),
      (["--augment", "spin"], "flip"), (["--loss", "l1"], "cross-entropy, mse"),
      (["--early-stop", "3", "--val-split", "0"], "--early-stop has no effect"),
      (["--momentum", "0.5", "--optimizer", "adamw"], "--optimizer sgd"),
      (["--nesterov", "--optimizer", "adam"], "Nesterov"),
      (["--gamma", "0.5"], "--schedule step"), (["--step-size", "5"], "--schedule step"),
      (["--temperature", "2"], "no --teacher"), (["--alpha", "0.5"], "no --teacher"),
      (["--val-split", "0.1", "--val", "V"], "--val gives the validation data"),
      (["--plan", "--find-lr"], "--plan has no effect"),
      (["--plan", "--report", "r.html"], "--report has no effect: --plan"),
      (["--find-lr", "--metrics", "m"], "--metrics has no effect: --find-lr"),
      (["--find-lr", "--early-stop", "3"], "--early-stop has no effect: --find-lr"),
      (["--resume", "R", "--overwrite"], "--overwrite has no effect"),
      (["--resume", "R", "--checkpoint", "C"], "--resume names the folder"),
      (["--momentum", "0.9", "--optimizer", "adamw"], "--optimizer sgd"),
      (["--val-split", "0.2", "--val", "V"], "--val gives the validation data"),
      (["--layer-decay", "0.5"], "--unfreeze none trains only the head"),
      (["--label-smoothing", "1"], "at least 0 and below 1"),
      (["--epochs", "many"], "from 1 to 100000, found \"many\""),
      (["--memory-limit", "much"], "900M"), (["--seed", "-1"], "below 2^64"),
    ])
  func finetune(_ options: [String], _ says: String) throws {
    try expectUsage(["finetune", "B", "--data", "D", "-o", "O"] + options, saying: says)
  }

  @Test("a misspelled command or option names the nearest one, and a table has no format")
  func others() throws {
    try expectUsage(["finetun", "x"], saying: "did you mean 'finetune'?")
    try expectUsage(
      ["finetune", "B", "--data", "D", "-o", "O", "--epoch", "3"], saying: "--epochs")
    try expectUsage(["dump", "M", "--summary", "--format", "json"], saying: "--summary is a table")
    try expectUsage(["predict", "B", "I", "--top-k", "0"], saying: "at least 1")
    try expectUsage(
      ["compile", "M", "-o", "O", "--preprocess", "imagenett"], saying: "imagenet, cifar10, none")
    try expectUsage(["finetune", "--data", "D", "-o", "O"], saying: "'<bundle>'")
    try expectUsage(["finetune", "B", "-o", "O"], saying: "--data")
  }
}
