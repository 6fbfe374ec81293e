"""A run of tools/fuzz-graphs: packs until the time is over, findings, counts. Import only: it has no command line."""

import os
import time

import numpy as np
from lib import fuzz_generate, fuzz_known, fuzz_programs, fuzz_reduce
from lib.fuzz_programs import Crashed, LimitedGraft
from lib.fuzz_run import Counts, Difference, Runner
from lib.fuzz_training import Trainer
from lib.graft import Failed

# Findings of one kind and set of operators that are reduced; more are only counted.
SAME = 2


class Session:
    """Holds the counts of a run; `run` returns the exit status."""

    def __init__(self, arguments):
        self.arguments, self.counts = arguments, Counts()
        arguments.work.mkdir(parents=True, exist_ok=True)
        self.graft = LimitedGraft(arguments.graft)
        self.runner = Runner(self.graft, arguments.work, self.counts)
        self.trainer = Trainer(self.runner)
        os.environ["XDG_CACHE_HOME"] = str(arguments.work.resolve() / "cache")
        if arguments.optimize == 1:
            fuzz_programs.optimize_less(arguments.work)
        self.found: dict[str, int] = {}
        self.left_out: dict[str, int] = {}

    def run(self) -> int:
        start, number = time.time(), self.arguments.first
        end = number + self.arguments.packs
        while time.time() - start < self.arguments.seconds and number < end:
            began = time.time()
            cells, opset, dynamic = fuzz_generate.pack(
                self.arguments.seed, number, self.arguments.cells, self._names(), self._trains(number)
            )
            cells = self._without_open(cells, opset)
            self.counts.made += len(cells)
            for difference in self._check(number, cells, opset):
                self._finding(difference, number)
            if not self.arguments.quiet:
                print(
                    f"pack {number}: opset {opset}, {'batch N' if dynamic else 'fixed batch'}, {len(cells)} networks,"
                    f" {time.time() - began:.1f} s",
                    flush=True,
                )
            number += 1
        self._print(time.time() - start)
        return 1 if self.found or not self.counts.compared else 0

    def _names(self) -> set[str] | None:
        return set(self.arguments.only.split(",")) if self.arguments.only else None

    def _trains(self, number: int) -> bool:
        every = self.arguments.training_every
        return bool(every) and number % every == every - 1

    def _without_open(self, cells: list, opset: int) -> list:
        kept = []
        for cell in cells:
            name = "" if self.arguments.all else fuzz_known.is_open(cell, opset)
            if name:
                self.left_out[name] = self.left_out.get(name, 0) + 1
            else:
                kept.append(cell)
        return kept

    def options(self, number: int) -> list[str]:
        """Target, --compact and tuning of a pack. Tuning measures, so its choices differ from run to run."""
        targets = self.arguments.targets.split(",")
        rng = np.random.default_rng([self.arguments.seed, number, 0])
        compact = ["--compact"] if rng.random() < 0.2 else []
        return ["--target", str(rng.choice(targets)), "--tune", "quick" if rng.random() < 0.04 else "off", *compact]

    def _check(self, number: int, cells: list, opset: int) -> list[Difference]:
        if self._trains(number):
            return self.trainer.check(cells, opset, self.options(number), number)
        every = self.arguments.wide_every
        return self.runner.check(cells, opset, self.options(number), bool(every) and number % every == 0)

    def _finding(self, difference: Difference, number: int) -> None:
        """Reduces and saves one difference, unless enough like it are known."""
        if difference.kind != "crash":
            small = fuzz_reduce.reduced(difference, lambda made: self._again(difference, made))
        else:
            small = difference
        key = f"{small.kind}: {' '.join(small.made.operators)}"
        self.found[key] = self.found.get(key, 0) + 1
        if self.found[key] > SAME:
            return
        seed = f"{self.arguments.seed}-{number}-{difference.made.prefix.rstrip('.')}"
        path = fuzz_reduce.save(small, self.arguments.work / "findings", seed)
        print(f"DIFFERS {path}: {small.kind}: {small.text[:300]}", flush=True)

    def _again(self, difference: Difference, made) -> Difference | None:
        """The same kind of difference of a smaller cell, alone."""
        runner = Runner(self.graft, self.runner.folder, Counts())
        if difference.kind == "training":
            try:
                return next(iter(Trainer(runner).check([made], difference.opset, difference.options, 0)), None)
            except (Failed, Crashed):
                return None
        wide = difference.kind in ("reference evaluator", "export", "fused export")
        try:
            found = runner.check([made], difference.opset, difference.options, wide)
        except (Failed, Crashed):
            return None
        return next((d for d in found if d.kind == difference.kind), None)

    def _print(self, seconds: float) -> None:
        counts = self.counts
        examples = "\n\n".join(f"{reason}\n{said}" for reason, said in counts.examples.items())
        (self.arguments.work / "refusals.txt").write_text(examples)
        print("refused:")
        for reason, count in counts.reasons.most_common(40):
            print(f"  {count} × {reason}")
        for reason, count in counts.excused.most_common():
            if reason:
                print(f"excused: {count} × {reason}")
        for name, count in self.left_out.items():
            print(f"open finding, left out: {count} × {name}")
        print(f"{self.trainer.checked} directions of gradients compared, {self.trainer.near_kinks} too near a kink")
        for key, count in sorted(self.trainer.untrained.items()):
            print(f"not trained: {count} × {key}")
        for key, count in self.found.items():
            print(f"difference: {count} × {key}")
        print(
            f"{counts.made} networks made, {counts.compared} compared ({counts.with_peer} outputs with onnxruntime),"
            f" {counts.refused} refused, {counts.invalid} invalid, {sum(self.found.values())} differences,"
            f" {counts.compared / max(seconds, 1e-9):.1f} networks a second"
        )
