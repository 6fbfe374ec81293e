"""Pictures to compare networks on, as unlike each other as real input gets.

Import only: it has no command line.
"""

import pathlib

import numpy as np
from lib import cifar
from PIL import Image

PHOTOS = pathlib.Path(__file__).parent / "../../models/photos"


def photograph(name: str, side: int) -> np.ndarray:
    """A picture of models/photos as the `imagenet` preset feeds it: (3, side, side) float32."""
    picture = Image.open(PHOTOS / name).convert("RGB")
    shorter = round(256 * side / 224)
    scale = shorter / min(picture.size)
    picture = picture.resize([round(x * scale) for x in picture.size], Image.Resampling.BILINEAR)
    left, top = [(x - side) // 2 for x in picture.size]
    picture = picture.crop((left, top, left + side, top + side))
    return cifar.normalize(np.asarray(picture)[None])[0]


def unlike(side: int, seed: int = 1) -> np.ndarray:
    """Black, two photographs and noise: (4, 3, side, side) float32, normalized as ImageNet is."""
    black = np.broadcast_to((-cifar.MEAN / cifar.STD)[:, None, None], (3, side, side))
    noise = np.random.RandomState(seed).standard_normal((3, side, side)).astype(np.float32)
    return np.stack([black, photograph("cat.jpg", side), photograph("coffee.jpg", side), noise])


def for_calibration(side: int, smooth: bool, count: int = 32, seed: int = 2) -> np.ndarray:
    """Pictures like those of `unlike`, but others: grays from black on, random parts of the two
    photographs, and noise, or with `smooth` large spots, in turn; (count, 3, side, side) float32."""
    random = np.random.default_rng(seed)
    photographs = [photograph(name, 2 * side) for name in ("cat.jpg", "coffee.jpg")]

    def gray() -> np.ndarray:
        level = random.uniform(0, 0.5)
        return np.broadcast_to(((level - cifar.MEAN) / cifar.STD)[:, None, None], (3, side, side))

    def part(picture: np.ndarray) -> np.ndarray:
        step = int(random.integers(1, 3))
        top, left = random.integers(0, 2 * side - step * side + 1, 2)
        taken = picture[:, top : top + step * side : step, left : left + step * side : step]
        return taken[:, :, ::-1] if random.random() < 0.5 else taken

    def spots() -> np.ndarray:
        coarse = random.standard_normal((3, 8, 8)).astype(np.float32)
        size, filter = (side, side), Image.Resampling.BILINEAR
        return np.stack([np.asarray(Image.fromarray(c).resize(size, filter)) for c in coarse])

    def item(kind: int) -> np.ndarray:
        if kind in (1, 2):
            return part(photographs[kind - 1])
        if kind == 0:
            return gray()
        return spots() if smooth else random.standard_normal((3, side, side))

    return np.stack([item(i % 4) for i in range(count)]).astype(np.float32)


def spread(outputs: np.ndarray) -> float:
    """How far the outputs of unlike pictures lie apart: over the first axis, which is the picture,
    the greatest value less the smallest, and of that the largest over all outputs."""
    return float((outputs.max(axis=0) - outputs.min(axis=0)).max())


def as_caffe(pictures: np.ndarray) -> np.ndarray:
    """The same pictures as Caffe's networks take them: BGR, 0..255 less each channel's mean."""
    raw = (pictures * cifar.STD[:, None, None] + cifar.MEAN[:, None, None]) * 255
    return raw[:, ::-1].copy() - np.array([104, 117, 123], np.float32)[:, None, None]
