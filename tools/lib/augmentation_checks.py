"""What torchvision's random transforms make of pictures and batches, for make-augmentation-fixture.

Import only: it has no command line.
"""

import math

import numpy as np
import torch
from PIL import Image

from . import zoo  # noqa: F401  torchvision cannot be imported before it

from torchvision import transforms  # noqa: E402
from torchvision.transforms import v2  # noqa: E402
from torchvision.transforms.v2 import functional as F  # noqa: E402

DRAWS = 20000


def photograph(path):
    return Image.open(path).convert("RGB")


def pictures(photo):
    """The names say the function and its argument, which the tests read out of them."""
    tensor = torch.from_numpy(np.array(photo)).permute(2, 0, 1)
    gray = tensor[:1]

    def picture(result):
        array = result.permute(1, 2, 0).numpy()
        return Image.fromarray(array if array.shape[2] == 3 else array[:, :, 0])

    for name in ["brightness", "contrast", "saturation"]:
        for factor in [0.6, 1.37]:
            change = getattr(F, f"adjust_{name}")
            yield f"{name}_{factor}", picture(change(tensor, factor))
            yield f"gray-{name}_{factor}", picture(change(gray, factor))
    for turn in [-0.1, 0.043]:
        yield f"hue_{turn}", picture(F.adjust_hue(tensor, turn))
    for top, left, height, width, size in [(3, 5, 40, 51, 32), (10, 0, 20, 17, 32), (0, 0, 60, 70, 24)]:
        crop = transforms.functional.resized_crop(photo, top, left, height, width, [size, size])
        yield f"crop_{top}_{left}_{height}_{width}_{size}", crop
    small = photo.resize((32, 32))
    padded = transforms.functional.pad(small, [4, 4])
    for top, left in [(0, 0), (8, 3), (4, 4)]:
        yield f"padded_{top}_{left}", transforms.functional.crop(padded, top, left, 32, 32)
    yield "small", small


def moments(rows):
    values = np.array(rows, dtype="float64")
    return {"mean": values.mean(0).tolist(), "deviation": values.std(0).tolist()}


def crops():
    """Of RandomResizedCrop on several sizes: mean and deviation of x, y, width and height."""
    torch.manual_seed(1)
    result = []
    for width, height in [(96, 64), (50, 400), (31, 31)]:
        probe = [torch.zeros(1, height, width)]
        transform = v2.RandomResizedCrop(8)
        drawn = [transform.make_params(probe) for _ in range(DRAWS)]
        rows = [[d["left"], d["top"], d["width"], d["height"]] for d in drawn]
        result.append({"width": width, "height": height, **moments(rows)})
    return result


def erasures():
    """Of RandomErasing: the same, of those that erase, and the share that does."""
    torch.manual_seed(2)
    result = []
    for width, height in [(32, 32), (60, 20)]:
        probe = [torch.zeros(3, height, width)]
        transform = v2.RandomErasing()
        drawn = []
        for _ in range(DRAWS):
            if torch.rand(1) < transform.p:
                drawn.append(transform.make_params(probe))
        rows = [[d["j"], d["i"], d["w"], d["h"]] for d in drawn if d["v"] is not None]
        result.append({"width": width, "height": height, "share": len(rows) / DRAWS, **moments(rows)})
    return result


def mixing():
    """Batches of 3 pictures of 2 × 4 × 5 and their targets, mixed by MixUp and CutMix with given numbers."""
    torch.manual_seed(3)
    batch, labels = torch.randn(3, 2, 4, 5), torch.tensor([0, 2, 1])
    result = {"input": batch.flatten().tolist(), "labels": labels.tolist(), "cases": []}
    for share in [0.3, 0.85]:
        mixer = v2.MixUp(alpha=1.0, num_classes=3)
        mixer.make_params = lambda _, share=share: {"lam": share}
        made, targets = mixer(batch.clone(), labels)
        result["cases"].append(
            {"share": share, "values": made.flatten().tolist(), "targets": targets.flatten().tolist()})
    for share, x, y in [(0.4, 1, 1), (0.9, 4, 3), (0.05, 0, 2)]:
        mixer = v2.CutMix(alpha=1.0, num_classes=3)
        draws = iter([torch.tensor([x]), torch.tensor([y])])
        mixer._dist = type("Fixed", (), {"sample": lambda self, _, share=share: torch.tensor(share, dtype=torch.float64)})()
        randint = torch.randint
        torch.randint = lambda *args, **options: next(draws)
        made, targets = mixer(batch.clone(), labels)
        torch.randint = randint
        result["cases"].append(
            {"share": share, "x": x, "y": y, "values": made.flatten().tolist(),
             "targets": targets.flatten().tolist()})
    return result


def beta():
    """Mean and deviation of the symmetric beta distribution, in closed form."""
    return [{"alpha": a, "mean": 0.5, "deviation": math.sqrt(1 / (4 * (2 * a + 1)))} for a in [0.2, 1.0, 2.5]]
