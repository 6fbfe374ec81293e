"""CIFAR-10 as a zip of JPEG files, SPLIT/CLASS/*.jpg, decoded once into uint8 arrays.

Also Graft's `cifar10` preset (docs of `--preprocess`): RGB / 255, then mean and standard deviation
per channel. Import only: it has no command line.
"""

import io
import zipfile

import numpy as np
from PIL import Image

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def load(path: str, split: str) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """Pictures (N, 32, 32, 3) uint8 RGB, class indices (N,), class names, file names.

    Classes stand in code-point order, which is how Graft numbers the folders of a data set.
    """
    with zipfile.ZipFile(path) as archive:
        names = sorted(
            n for n in archive.namelist() if n.startswith(split + "/") and n.endswith(".jpg")
        )
        if not names:
            raise SystemExit(f"{path}: holds no {split}/CLASS/*.jpg")
        classes = sorted({n.split("/")[1] for n in names})
        pictures = np.stack(
            [np.asarray(Image.open(io.BytesIO(archive.read(n))).convert("RGB")) for n in names]
        )
    labels = np.array([classes.index(n.split("/")[1]) for n in names])
    return pictures, labels, classes, names


def normalize(pictures: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W, 3) to the network's input, float32 (N, 3, H, W)."""
    scaled = (pictures.astype(np.float32) / 255 - MEAN) / STD
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))
