"""The pictures of Tests/GraftDataTests/Fixtures, and what Pillow, PyTorch and torchvision make of them.

Import only; tools/make-image-fixtures runs it. Sources are scikit-image's CC0 cat and patterns made
here. NAME.jpg or NAME.png is an input, NAME.expected.png what it must decode to.
"""

import io
import pathlib
import struct

import numpy as np
import skimage
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps

from . import zoo  # noqa: F401  torchvision cannot be imported before it
from .png_writer import png

from torchvision import transforms  # noqa: E402

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
SIZES = [(64, 44), (110, 75), (37, 71), (1, 1), (91, 20), (30, 63), (5, 63), (180, 7)]


def photograph():
    cat = Image.open(pathlib.Path(skimage.__file__).parent / "data/chelsea.png").convert("RGB")
    return cat.crop((60, 20, 302, 186)).resize((91, 63), Image.Resampling.LANCZOS)


def decoded(data):
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if picture.mode == "I;16":
        # Pillow's convert clips these at 255; the high byte is what it takes of colours of 16 bits.
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    return picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB")


def jpegs(photo):
    small = photo.resize((45, 31))
    options = {"quality": 85}
    variants = {
        "jpeg-420": (small, {"subsampling": 2}),
        "jpeg-444": (small, {"subsampling": 0}),
        "jpeg-422": (small, {"subsampling": 1}),
        "jpeg-progressive": (small, {"progressive": True}),
        "jpeg-grey": (small.convert("L"), {}),
        "jpeg-cmyk": (small.convert("CMYK"), {}),
        "jpeg-restart": (small, {"restart_marker_blocks": 2}),
    }
    for name, (picture, more) in variants.items():
        file = io.BytesIO()
        picture.save(file, "JPEG", **options, **more)
        yield name, "jpg", file.getvalue()
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = io.BytesIO()
        photo.resize((24, 16)).save(file, "JPEG", quality=85, exif=exif)
        yield f"jpeg-orientation-{orientation}", "jpg", file.getvalue()


def pngs(photo):
    grey = np.asarray(photo.convert("L").resize((23, 17)))
    color = np.asarray(photo.resize((23, 17)))
    alpha = np.linspace(0, 255, grey.size).astype(np.uint8).reshape(grey.shape)
    for depth in (1, 2, 4, 8):
        yield f"png-grey-{depth}", png(grey >> (8 - depth), 0, depth)
    quantized = photo.resize((23, 17)).quantize(16)
    palette = (b"PLTE", bytes(quantized.getpalette()[:48]))
    indices = np.asarray(quantized)
    yield "png-palette-4", png(indices, 3, 4, extra=[palette])
    yield "png-palette-8-interlaced", png(indices, 3, 8, True, extra=[palette])
    yield (
        "png-palette-transparent",
        png(indices, 3, 8, extra=[palette, (b"tRNS", bytes([0, 128, 255]))]),
    )
    yield "png-grey-alpha", png(np.dstack([grey, alpha]), 4, 8)
    yield "png-rgb-interlaced", png(color, 2, 8, True)
    yield (
        "png-rgb-transparent",
        png(color, 2, 8, extra=[(b"tRNS", struct.pack(">HHH", *map(int, color[0, 0])))]),
    )
    yield "png-rgba", png(np.dstack([color, alpha]), 6, 8)
    wide = color.astype(np.uint16) * 257 ^ 0x5A
    yield "png-grey-16", png(grey.astype(np.uint16) * 257 ^ 0x5A, 0, 16)
    yield "png-rgb-16", png(wide, 2, 16)
    yield "png-rgba-16", png(np.dstack([wide, alpha.astype(np.uint16) * 257]), 6, 16)
    exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    yield "png-orientation-6", png(color, 2, 8, extra=[(b"eXIf", exif)])


def resized(photo):
    """Pillow's resize at many sizes, and PyTorch's interpolate without antialiasing."""
    for name, filter in FILTERS.items():
        for width, height in SIZES:
            yield f"resized-{name}-{width}x{height}", photo.resize((width, height), filter)
        yield f"resized-grey-{name}-50x33", photo.convert("L").resize((50, 33), filter)
        pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float()
        for width, height in [(64, 44), (110, 75)]:
            result = F.interpolate(pixels, (height, width), mode=name, align_corners=False)
            array = result.round().clamp(0, 255).byte()[0].permute(1, 2, 0).numpy()
            yield f"interpolated-{name}-{width}x{height}", Image.fromarray(array)


def preprocessed(photo):
    """torchvision's transforms: name, the picture that is fed, and the numbers made of it."""
    normalize = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    )
    for shorter, crop in [(73, 64), (40, 48), (37, 33)]:
        fed = transforms.Compose([transforms.Resize(shorter), transforms.CenterCrop(crop)])(photo)
        yield f"preprocessed-{shorter}-{crop}", fed, normalize(fed).numpy()
    fed = transforms.Resize((32, 32))(photo)
    yield "preprocessed-exact-32", fed, normalize(fed).numpy()
