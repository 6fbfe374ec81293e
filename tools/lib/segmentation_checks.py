"""What tools/verify-segmentation checks. Import only: it has no command line."""

import copy
import json
import pathlib

import numpy as np
import torch
from lib import epoch_order, families, onnx_export
from lib.graft import Graft
from lib.report import Report
from PIL import Image, ImageDraw
from torch import nn

CLASSES = ["background", "disc", "box", "triangle", "ring"]
SIZE = (48, 64)  # height, width
# Points of mean IoU, in per cent, by which two runs may differ.
LIMIT = 0.5
IGNORED = 255


def draw(folder: pathlib.Path, count: int, seed: int) -> None:
    """Pictures of shapes over uneven ground with noise, as images/ and masks/; edges have no class."""
    random = np.random.RandomState(seed)
    height, width = SIZE
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    for number in range(count):
        ground = random.uniform(40, 215, (4, 6, 3)).astype(np.uint8)
        picture = Image.fromarray(ground).resize((width, height), Image.BILINEAR)
        mask = Image.new("P", (width, height), 0)
        on_picture, on_mask = ImageDraw.Draw(picture), ImageDraw.Draw(mask)
        for _ in range(random.randint(1, 5)):
            label = int(random.randint(1, len(CLASSES)))
            radius = int(random.randint(6, 14))
            x, y = int(random.randint(0, width)), int(random.randint(0, height))
            color = tuple(int(c) for c in random.randint(0, 256, 3))
            box = [x - radius, y - radius, x + radius, y + radius]
            corners = [(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)]
            if label == 1:
                on_picture.ellipse(box, fill=color)
                on_mask.ellipse(box, fill=1, outline=IGNORED)
            elif label == 2:
                on_picture.rectangle(box, fill=color)
                on_mask.rectangle(box, fill=2, outline=IGNORED)
            elif label == 3:
                on_picture.polygon(corners, fill=color)
                on_mask.polygon(corners, fill=3, outline=IGNORED)
            else:
                on_picture.ellipse(box, outline=color, width=4)
                on_mask.ellipse(box, outline=4, width=4)
        noisy = np.asarray(picture, np.float64) + random.normal(0, 12, (height, width, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"images/{number:04}.png")
        mask.putpalette([c for i in range(256) for c in (i * 37 % 256, i * 91 % 256, i * 151 % 256)])
        mask.save(folder / f"masks/{number:04}.png")


def tensors(folder: pathlib.Path) -> tuple[torch.Tensor, torch.Tensor]:
    """All pictures with ImageNet's normalization, (N, 3, H, W), and their classes, (N, H, W)."""
    mean, std = (np.array(v).reshape(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    images, masks = [], []
    for file in sorted((folder / "images").iterdir()):
        pixels = np.asarray(Image.open(file).convert("RGB"), np.float64).transpose(2, 0, 1)
        images.append(((pixels / 255 - mean) / std).astype(np.float32))
        masks.append(np.asarray(Image.open(folder / "masks" / file.name)).astype(np.int64))
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks))


def mean_iou(predicted: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Over classes that are there or were predicted; and the share of right pixels."""
    judged = labels != IGNORED
    found = []
    for index in range(len(CLASSES)):
        here, said = (labels == index) & judged, (predicted == index) & judged
        if (here | said).any():
            found.append((here & said).sum() / (here | said).sum())
    return float(np.mean(found)), float((predicted == labels)[judged].mean())


class Run:
    """A network and data for both, and the recipe."""

    def __init__(self, name: str, graft: Graft, work: pathlib.Path, epochs: int):
        self.name, self.graft, self.folder, self.epochs = name, graft, work / name, epochs
        self.train, self.val = work / "train", work / "val"
        if not self.val.exists():
            draw(self.train, 160, 1)
            draw(self.val, 80, 2)
        torch.manual_seed(1)
        self.network = families.UNet(name.removeprefix("unet_"))
        self.folder.mkdir(parents=True, exist_ok=True)
        source, self.bundle = self.folder / "network.onnx", self.folder / "network.graft"
        onnx_export.export(self.network.eval(), torch.zeros(2, 3, *SIZE), str(source), 17)
        mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
        preprocess = self.folder / "preprocess.json"
        preprocess.write_text(json.dumps(
            {"color": "RGB", "layout": "NCHW", "scale": 1 / 255, "mean": mean, "std": std}))
        graft.call("compile", source, "-o", self.bundle, "--preprocess", preprocess, "--tune", "off")

    def pytorch(self) -> list[dict]:
        """Loss and validation of each epoch, in Graft's order of the items."""
        network = copy.deepcopy(self.network).train()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
        x, y = tensors(self.train)
        history = []
        for epoch in range(self.epochs):
            order, total = epoch_order.order(0, epoch, len(x)), 0.0
            network.train()
            for start in range(0, len(x), 16):
                rows = order[start:start + 16]
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(network(x[rows]), y[rows], ignore_index=IGNORED)
                loss.backward()
                optimizer.step()
                total += loss.item() * len(rows)
            history.append({"loss": total / len(x), **self._judge(network)})
        return history

    def _judge(self, network: nn.Module) -> dict:
        x, y = tensors(self.val)
        network.eval()
        with torch.inference_mode():
            logits = torch.cat([network(part) for part in x.split(16)])
            loss = nn.functional.cross_entropy(logits, y, ignore_index=IGNORED)
        iou, accuracy = mean_iou(logits.argmax(1).numpy(), y.numpy())
        return {"val_loss": float(loss), "val_mean_iou": iou, "val_accuracy": accuracy}

    def graft_run(self) -> list[dict]:
        """The same of Graft."""
        metrics = self.folder / "metrics.jsonl"
        self.graft.call(
            *("finetune", self.bundle, "--data", self.train, "--val", self.val, "--head", "keep"),
            *("--unfreeze", "all", "--bn", "train", "--epochs", self.epochs, "--batch-size", 16),
            *("--lr", 0.02, "--momentum", 0.9, "--schedule", "constant", "--overwrite"),
            *("--metrics", metrics, "-o", self.folder / "tuned.graft"))
        return [json.loads(line) for line in metrics.read_text().splitlines()]

    def check(self, report: Report) -> None:
        """The two runs against each other, then `graft evaluate` and `graft predict` against the truth."""
        expected, found = self.pytorch(), self.graft_run()
        first = abs(found[0]["loss"] - expected[0]["loss"])
        report.check(
            first <= 1e-2, f"{self.name}, first epoch",
            f"loss {found[0]['loss']:.4f}, PyTorch's {expected[0]['loss']:.4f}")
        best, other = (max(h["val_mean_iou"] for h in run) for run in (found, expected))
        report.check(
            100 * abs(best - other) <= LIMIT, f"{self.name}, best of {self.epochs} epochs",
            f"mean IoU {100 * best:.2f} %, PyTorch's {100 * other:.2f} %")
        tuned = self.folder / "tuned.graft"
        judged = self.graft.json("evaluate", tuned, "--data", self.val, "--json")
        masks = self.folder / "masks"
        pictures = sorted((self.val / "images").iterdir())
        self.graft.call("predict", tuned, *pictures, "--output-dir", masks)
        predicted = np.stack([np.asarray(Image.open(masks / f"{p.stem}.mask.png")) for p in pictures])
        iou, accuracy = mean_iou(predicted, tensors(self.val)[1].numpy())
        apart = max(abs(judged["mean_iou"] - iou), abs(judged["pixel_accuracy"] - accuracy))
        apart = max(apart, abs(judged["mean_iou"] - best))
        report.check(
            apart <= 1e-9, f"{self.name}, evaluate and predict",
            f"mean IoU {100 * judged['mean_iou']:.2f} % and {100 * iou:.2f} % of the masks")
