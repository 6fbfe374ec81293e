"""Folders of photographs for measurements. Import only: it has no command line."""

import pathlib

import numpy as np
import skimage
from PIL import Image

# Those of scikit-image's wheel that are photographs in color: the classes.
SUBJECTS = {"astronaut": "astronaut.png", "cat": "chelsea.png", "coffee": "coffee.png"}
SUBJECTS["rocket"] = "rocket.jpg"
# The commonest size in ImageNet.
WIDTH, HEIGHT = 500, 375


def make(folder: pathlib.Path, count: int, seed: int = 1) -> None:
    """Writes `count` JPEG files of 500 x 375 in ImageFolder layout, where they are not there yet.

    Each is a random part of a photograph, at least six tenths of its height and width, maybe
    mirrored.
    """

    def part(picture: Image.Image, random: np.random.Generator) -> Image.Image:
        share = random.uniform(0.6, 1.0)
        size = int(picture.width * share), int(picture.height * share)
        taken = _part(picture, size, (WIDTH, HEIGHT), Image.Resampling.BICUBIC, random)
        if random.random() < 0.5:
            return taken.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return taken

    _write(folder, count, seed, part, ".jpg", {"quality": 90})


def make_small(folder: pathlib.Path, count: int, seed: int = 1) -> None:
    """As `make`, but 32 x 32: squares from a tenth of the picture's shorter side on, as PNG files."""

    def part(picture: Image.Image, random: np.random.Generator) -> Image.Image:
        side = int(min(picture.size) * random.uniform(0.1, 1.0))
        return _part(picture, (side, side), (32, 32), Image.Resampling.BILINEAR, random)

    _write(folder, count, seed, part, ".png", {})


def _part(picture, size, target, filter, random) -> Image.Image:
    """A part of `size` at a random place, resized to `target`; sizes are width and height."""
    left, top = (int(random.integers(all - own + 1)) for all, own in zip(picture.size, size))
    return picture.resize(target, filter, (left, top, left + size[0], top + size[1]))


def _write(folder, count, seed, part, extension, options) -> None:
    if len(list(folder.glob(f"*/*{extension}"))) == count:
        return
    random = np.random.default_rng(seed)
    source = pathlib.Path(skimage.__file__).parent / "data"
    pictures = {name: Image.open(source / file).convert("RGB") for name, file in SUBJECTS.items()}
    names = sorted(pictures)
    for index in range(count):
        name = names[index % len(names)]
        (folder / name).mkdir(parents=True, exist_ok=True)
        part(pictures[name], random).save(folder / name / f"{index:05}{extension}", **options)
