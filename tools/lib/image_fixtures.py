"""The pictures of Tests/GraftDataTests/Fixtures, and what Pillow, PyTorch and torchvision make of them.

Import only; tools/make-image-fixtures runs it. Sources are scikit-image's CC0 cat and patterns made
here. NAME.jpg or NAME.png is an input, NAME.expected.png what it must decode to.
"""

import io
import pathlib
import struct
import zlib

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
        # Pillow's convert clips these at 255; the high byte is what it takes of colors of 16 bits.
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
        "jpeg-gray": (small.convert("L"), {}),
        "jpeg-cmyk": (small.convert("CMYK"), {}),
        "jpeg-restart": (small, {"restart_marker_blocks": 2}),
    }
    for name, (picture, more) in variants.items():
        file = io.BytesIO()
        picture.save(file, "JPEG", **options, **more)
        yield name, "jpg", file.getvalue()
    file = io.BytesIO()
    photo.resize((24, 16)).save(file, "JPEG", quality=85)
    for name, blocks in orientation_segments().items():
        segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(b) + 2) + b for b in blocks)
        yield f"jpeg-{name}", "jpg", b"\xff\xd8" + segments + file.getvalue()[2:]
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = io.BytesIO()
        photo.resize((24, 16)).save(file, "JPEG", quality=85, exif=exif)
        yield f"jpeg-orientation-{orientation}", "jpg", file.getvalue()


def tiff(value, tag=0x0112):
    """An EXIF block with one tag: by default the orientation."""
    return b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHHI", tag, 3, 1, value, 0, 0)


def attribute(value, form='tiff:Orientation="%d"'):
    return f"<x:xmpmeta><rdf:Description {form % value}/></x:xmpmeta>".encode()


def element(value):
    return f"<x:xmpmeta><tiff:Orientation>{value}</tiff:Orientation></x:xmpmeta>".encode()


def orientation_segments():
    """Contents of APP1 segments that tell an orientation in XMP, with and without EXIF."""
    exif, xmp = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
    spaced = attribute(3, 'tiff:Orientation = "%d"')
    return {
        "xmp-attribute": [xmp + attribute(6)],
        "xmp-element": [xmp + element(8)],
        "xmp-beside-exif": [exif + tiff(1, 0x0128), xmp + attribute(3)],
        "xmp-exif-wins": [xmp + attribute(6), exif + tiff(2)],
        "xmp-exif-invalid": [exif + tiff(9), xmp + attribute(6)],
        "xmp-last-counts": [xmp + attribute(3), xmp + element(7)],
        "xmp-other-quotes": [xmp + attribute(6, "tiff:Orientation='%d'")],
        "xmp-second-place": [xmp + spaced + attribute(4)],
        "xmp-none": [xmp + attribute(0) + attribute(6)],
    }


def orientation_chunks():
    """Chunks of a PNG that tell an orientation in XMP or in ImageMagick's profile, with and without EXIF."""
    keyword = b"XML:com.adobe.xmp\0"
    profile = b"Exif\0\0" + tiff(8)
    text = b"\nexif\n%8d\n" % len(profile) + profile.hex().encode() + b"\n"
    return {
        "xmp-plain": [(b"iTXt", keyword + b"\0\0\0\0" + element(6))],
        "xmp-compressed": [(b"iTXt", keyword + b"\1\0\0\0" + zlib.compress(attribute(3)))],
        "xmp-text": [(b"tEXt", keyword + attribute(8))],
        "xmp-exif-wins": [
            (b"iTXt", keyword + b"\0\0\0\0" + element(6)),
            (b"eXIf", tiff(4)),
        ],
        "exif-profile": [(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))],
    }


def pngs(photo):
    gray = np.asarray(photo.convert("L").resize((23, 17)))
    color = np.asarray(photo.resize((23, 17)))
    alpha = np.linspace(0, 255, gray.size).astype(np.uint8).reshape(gray.shape)
    for depth in (1, 2, 4, 8):
        yield f"png-gray-{depth}", png(gray >> (8 - depth), 0, depth)
    quantized = photo.resize((23, 17)).quantize(16)
    palette = (b"PLTE", bytes(quantized.getpalette()[:48]))
    indices = np.asarray(quantized)
    yield "png-palette-4", png(indices, 3, 4, extra=[palette])
    yield "png-palette-8-interlaced", png(indices, 3, 8, True, extra=[palette])
    yield (
        "png-palette-transparent",
        png(indices, 3, 8, extra=[palette, (b"tRNS", bytes([0, 128, 255]))]),
    )
    yield "png-gray-alpha", png(np.dstack([gray, alpha]), 4, 8)
    yield "png-rgb-interlaced", png(color, 2, 8, True)
    yield (
        "png-rgb-transparent",
        png(color, 2, 8, extra=[(b"tRNS", struct.pack(">HHH", *map(int, color[0, 0])))]),
    )
    yield "png-rgba", png(np.dstack([color, alpha]), 6, 8)
    wide = color.astype(np.uint16) * 257 ^ 0x5A
    yield "png-gray-16", png(gray.astype(np.uint16) * 257 ^ 0x5A, 0, 16)
    yield "png-rgb-16", png(wide, 2, 16)
    yield "png-rgba-16", png(np.dstack([wide, alpha.astype(np.uint16) * 257]), 6, 16)
    yield "png-orientation-6", png(color, 2, 8, extra=[(b"eXIf", tiff(6))])
    for name, chunks in orientation_chunks().items():
        yield f"png-{name}", png(color, 2, 8, extra=chunks)
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0" + attribute(5)
    yield "png-xmp-behind", png(color, 2, 8, after=[(b"iTXt", xmp)])


def resized(photo):
    """Pillow's resize at many sizes, and PyTorch's interpolate without antialiasing."""
    for name, filter in FILTERS.items():
        for width, height in SIZES:
            yield f"resized-{name}-{width}x{height}", photo.resize((width, height), filter)
        yield f"resized-gray-{name}-50x33", photo.convert("L").resize((50, 33), filter)
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
