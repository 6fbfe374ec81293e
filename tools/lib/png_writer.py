"""PNG files of the kinds that Pillow cannot write: any color type and depth, Adam7 interlacing.

Import only. Written from the PNG specification (https://www.w3.org/TR/png-3/), for test fixtures.
"""

import struct
import zlib

import numpy as np

ADAM7 = [
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
]
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def rows(samples, depth):
    """The scanlines of height × width × channels samples, each after a filter byte of 0."""
    result = b""
    for row in samples.reshape(samples.shape[0], -1):
        if depth == 16:
            packed = row.astype(">u2").tobytes()
        else:
            bits = np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - depth :]
            packed = np.packbits(bits.ravel()).tobytes()
        result += b"\0" + packed
    return result


def png(samples, color, depth, interlaced=False, extra=(), after=()):
    """`extra`: further chunks as (kind, data), written between IHDR and IDAT; `after`: behind IDAT."""
    samples = samples.reshape(samples.shape[0], samples.shape[1], CHANNELS[color])
    height, width = samples.shape[:2]
    passes = [samples]
    if interlaced:
        passes = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7]
    data = b"".join(rows(part, depth) for part in passes if part.size)
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))
    pixels = (b"IDAT", zlib.compress(data, 9))
    chunks = [(b"IHDR", header), *extra, pixels, *after, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in chunks)
