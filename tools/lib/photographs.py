"""Folders of photographs for measurements. Import only: it has no command line."""

import pathlib

import numpy as np
import skimage
from PIL import Image

# Those of scikit-image's wheel that are photographs in colour: the classes.
SUBJECTS = {"astronaut": "astronaut.png", "cat": "chelsea.png", "coffee": "coffee.png"}
SUBJECTS["rocket"] = "rocket.jpg"
# The commonest size in ImageNet.
WIDTH, HEIGHT = 500, 375


def make(folder: pathlib.Path, count: int, seed: int = 1) -> None:
    """Writes `count` JPEG files of 500 x 375 in ImageFolder layout, where they are not there yet.

    Each is a random part of a photograph, at least six tenths of its height and width, maybe
    mirrored.
    """
    if len(list(folder.glob("*/*.jpg"))) == count:
        return
    random = np.random.default_rng(seed)
    source = pathlib.Path(skimage.__file__).parent / "data"
    pictures = {name: Image.open(source / file).convert("RGB") for name, file in SUBJECTS.items()}
    names = sorted(pictures)
    for index in range(count):
        name = names[index % len(names)]
        picture = pictures[name]
        share = random.uniform(0.6, 1.0)
        width, height = int(picture.width * share), int(picture.height * share)
        left = int(random.integers(picture.width - width + 1))
        top = int(random.integers(picture.height - height + 1))
        part = picture.resize(
            (WIDTH, HEIGHT), Image.Resampling.BICUBIC, (left, top, left + width, top + height)
        )
        if random.random() < 0.5:
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        (folder / name).mkdir(parents=True, exist_ok=True)
        part.save(folder / name / f"{index:04}.jpg", quality=90)


def make_small(folder: pathlib.Path, count: int, seed: int = 1) -> None:
    """As `make`, but 32 x 32: parts of any size from a tenth of the picture on, as PNG files."""
    if len(list(folder.glob("*/*.png"))) == count:
        return
    random = np.random.default_rng(seed)
    source = pathlib.Path(skimage.__file__).parent / "data"
    pictures = {name: Image.open(source / file).convert("RGB") for name, file in SUBJECTS.items()}
    names = sorted(pictures)
    for index in range(count):
        name = names[index % len(names)]
        picture = pictures[name]
        side = int(min(picture.size) * random.uniform(0.1, 1.0))
        left = int(random.integers(picture.width - side + 1))
        top = int(random.integers(picture.height - side + 1))
        part = picture.resize(
            (32, 32), Image.Resampling.BILINEAR, (left, top, left + side, top + side)
        )
        (folder / name).mkdir(parents=True, exist_ok=True)
        part.save(folder / name / f"{index:05}.png")
