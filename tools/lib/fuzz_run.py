"""One pack through every program, and what differs. Import only: it has no command line."""

import collections
import dataclasses
import pathlib
import shutil

import onnx
from lib import fuzz_exports, fuzz_known, fuzz_pack, fuzz_programs
from lib.fuzz_compare import Judge
from lib.fuzz_pack import Made
from lib.fuzz_programs import Crashed
from lib.graft import Failed

TARGETS = ["native", "native", "x86-64-v3", "generic"]


@dataclasses.dataclass
class Difference:
    """One cell whose outputs are not what they should be; `kind` names the program at fault or the check."""

    kind: str
    made: Made
    opset: int
    text: str
    options: list[str]
    name: str = ""
    batch: int = 0


@dataclasses.dataclass
class Counts:
    made: int = 0
    compared: int = 0
    refused: int = 0
    invalid: int = 0
    with_peer: int = 0
    reasons: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    examples: dict = dataclasses.field(default_factory=dict)
    excused: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    operators: collections.Counter = dataclasses.field(default_factory=collections.Counter)


def valid(cells: list[Made], opset: int, counts: Counts) -> list[Made]:
    """Those that onnx's checker accepts, with their declared shapes."""

    def holds(some):
        try:
            onnx.checker.check_model(fuzz_pack.model(some, opset), full_check=True)
            return ""
        except Exception as error:
            return str(error)

    if not holds(cells):
        return cells
    kept = []
    for cell in cells:
        said = holds([cell])
        # The checker cannot infer inside the first one's body, and calls the second one deprecated.
        if not said or "MeanVarianceNormalization" in said or "GroupNormalization is deprecated" in said:
            kept.append(cell)
        else:
            counts.invalid += 1
            counts.reasons["invalid: " + " ".join(said.split())[:160]] += 1
    return kept


class Runner:
    """Compiles and runs packs below one folder."""

    def __init__(self, graft, folder: pathlib.Path, counts: Counts):
        self.graft, self.folder, self.counts = graft, folder, counts
        self.bundle = folder / "b.graft"

    def compile(self, cells: list[Made], opset: int, options: list[str]) -> tuple[list[Made], list[Difference]]:
        """The cells that remain when those that graft refuses are taken away; and crashes."""
        found = []
        while cells:
            try:
                self.build(cells, opset, options)
                return cells, found
            except Failed as error:
                names = fuzz_programs.refused(str(error))
                bad = [c for c in cells if c.prefix in names] or self.culprits(cells, opset, options)
                for cell in bad:
                    said = fuzz_programs.reason(str(error))
                    self.counts.reasons[said] += 1
                    self.counts.examples.setdefault(said, f"{cell.prefix} opset {opset}: {error}")
                    if not names or fuzz_known.is_fault(str(error)):
                        found.append(Difference("refusal", cell, opset, str(error)[:400], options))
                self.counts.refused += len(bad)
            except Crashed as error:
                bad = self.culprits(cells, opset, options)
                found += [Difference("crash", c, opset, str(error), options) for c in bad]
            cells = [c for c in cells if all(c is not b for b in bad)]
        return cells, found

    def build(self, cells: list[Made], opset: int, options: list[str]) -> None:
        shutil.rmtree(self.bundle, ignore_errors=True)
        onnx.save(fuzz_pack.model(cells, opset), self.folder / "m.onnx")
        self.graft.call("compile", self.folder / "m.onnx", "-o", self.bundle, *options)

    def culprits(self, cells: list[Made], opset: int, options: list[str]) -> list[Made]:
        """By halves: the first cell that does not compile alone; all where each does."""
        while len(cells) > 1:
            half = cells[: len(cells) // 2]
            try:
                self.build(half, opset, options)
                cells = cells[len(half) :]
            except (Failed, Crashed):
                cells = half
        return cells

    def run(self, cells: list[Made], batch: int, *options) -> dict:
        inputs = {n: a for c in cells for n, a in c.inputs[batch].items()}
        return self.graft.run(self.bundle, inputs, *options)

    def check(self, cells: list[Made], opset: int, options: list[str], wide: bool) -> list[Difference]:
        """Everything about one pack; `wide` adds exports and the reference evaluator."""
        cells = valid(cells, opset, self.counts)
        cells, found = self.compile(cells, opset, options)
        if not cells:
            return found
        batches = list(cells[0].inputs)
        peers = fuzz_programs.peers(cells, opset, batches)
        judges = {c.prefix: Judge(c, opset) for c in cells}
        for batch in batches:
            outputs = self.run(cells, batch, "--threads", 1)
            found += self._compare("graft", cells, judges, outputs, peers, batch, opset, options)
            again = self.run(cells, batch, "--threads", 2)
            for cell in cells:
                for name in cell.outputs[batch]:
                    if outputs[name].tobytes() != again[name].tobytes():
                        found.append(
                            Difference("threads", cell, opset, "bits differ on two threads", options, name, batch)
                        )
        if wide:
            found += self._wide(cells, judges, peers, batches, opset, options)
        self.counts.compared += len(cells)
        for cell in cells:
            self.counts.operators.update(cell.operators)
        return list({(d.made.prefix, d.kind): d for d in reversed(found)}.values())

    def _wide(self, cells, judges, peers, batches, opset, options) -> list[Difference]:
        found = []
        outputs = self.run(cells, batches[0], "--reference")
        found += self._compare("reference evaluator", cells, judges, outputs, peers, batches[0], opset, options)
        runnable = [c for c in cells if all(n in peers[batches[0]] for n in c.outputs[batches[0]])]
        for kind in fuzz_exports.KINDS:
            model = fuzz_exports.exported(self, cells, kind)
            if isinstance(model, str):
                names = fuzz_programs.refused(model)
                bad = [c for c in cells if c.prefix in names] or cells[:1]
                found += [Difference(kind, c, opset, model[:400], options) for c in bad]
                continue
            outputs, refused = fuzz_exports.run(model, runnable, cells, batches[0])
            found += [Difference(kind, c, opset, said, options) for c, said in refused]
            there = [c for c in runnable if all(n in outputs for n in c.outputs[batches[0]])]
            found += self._compare(kind, there, judges, outputs, peers, batches[0], opset, options)
        return found

    def _compare(self, kind, cells, judges, outputs, peers, batch, opset, options) -> list[Difference]:
        found = []
        for cell in cells:
            for name in cell.outputs[batch]:
                said, fault = self._verdict(
                    cell, judges[cell.prefix], outputs[name], peers[batch].get(name), name, batch, opset
                )
                if said:
                    found.append(
                        Difference(kind if fault == "graft" else fault, cell, opset, said, options, name, batch)
                    )
                    break
        return found

    def _verdict(self, cell, judge, output, peer, name, batch, opset) -> tuple[str, str]:
        """What is wrong, and whose fault it seems to be: graft, onnxruntime, reference."""
        wrong = judge.wrong(name, output, batch)
        if peer is None:
            if wrong and fuzz_known.excuses("reference", cell, opset):
                self.counts.excused["reference"] += 1
                return "", ""
            return wrong, "graft"
        self.counts.with_peer += 1
        peer_wrong = judge.wrong(name, peer, batch)
        if not wrong:
            known = peer_wrong and fuzz_known.excuses("onnxruntime", cell, opset)
            self.counts.excused[known or ""] += 1
            return ("", "") if known or not peer_wrong else ("onnxruntime: " + peer_wrong, "onnxruntime")
        if not judge.apart(name, output, peer, batch):
            known = fuzz_known.excuses("reference", cell, opset)
            self.counts.excused[known or ""] += 1
            return ("", "") if known else ("reference: " + wrong, "reference")
        return wrong, "graft"
