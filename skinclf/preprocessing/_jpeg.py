"""JPEG by simplejpeg: plain files only, read in one go; whatever is unusual in one is left to Pillow."""

from __future__ import annotations

from typing import Any, NamedTuple

from PIL import Image

_SOI, _SOS = b"\xff\xd8", 0xDA
_SIZES = frozenset({0xC0, 0xC1, 0xC2})
"""Markers of baseline, extended and progressive JPEG, all with Huffman codes (ITU-T T.81, table B.1)."""

_PASSED_OVER = frozenset({0xC4, 0xDB, 0xDD, 0xFE, 0xE0, 0xE2, *range(0xE3, 0xF0)})
"""Markers of segments that say nothing of size or orientation: tables, comments, applications."""

_EXIF, _EXIF_START = 0xE1, b"Exif\x00\x00"
_SEVERAL_IMAGES = b"MPF\x00"
"""Starts the segment of APP2 that makes a file one of several images (CIPA DC-007)."""

_COLORSPACES = {1: "GRAY", 3: "RGB"}


class JpegHeader(NamedTuple):
    """What has to be known of a file before it is decoded.

    Attributes
    ----------
    width, height : int
        Pixels, as stored.
    n_channels : int
        1 for grey, 3 for colour.
    exif : bytes
        The EXIF block, empty where there is none.
    """

    width: int
    height: int
    n_channels: int
    exif: bytes


def read_header(content: bytes) -> JpegHeader | None:
    """Read the segments up to the first scan; return None for a file that Pillow has to look at.

    Examples
    --------
    >>> import io
    >>> from PIL import Image
    >>> from skinclf.preprocessing._jpeg import read_header
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (600, 450)).save(file, "JPEG")
    >>> read_header(file.getvalue())
    JpegHeader(width=600, height=450, n_channels=3, exif=b'')
    """
    size, exif, at = None, b"", 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker, end = content[at + 1], at + 2 + int.from_bytes(content[at + 2 : at + 4])
        if marker == _SOS:
            return None if size is None else JpegHeader(*size, exif)
        segment = content[at + 4 : end]
        if marker in _SIZES and size is None and len(segment) >= 6 and segment[0] == 8:
            size = int.from_bytes(segment[3:5]), int.from_bytes(segment[1:3]), segment[5]
        elif marker == _EXIF and not exif and segment.startswith(_EXIF_START):
            exif = segment
        elif marker not in _PASSED_OVER or segment.startswith(_SEVERAL_IMAGES):
            return None
        at = end
    return None


def decode_jpeg(content: bytes, size: int) -> tuple[Any, Image.Exif] | None:
    """Decode a JPEG at a half, a quarter or an eighth of its size, if that is not below `size`, as ``draft`` does.

    Parameters
    ----------
    content : bytes
        The file.
    size : int
        The least number of pixels of a side, if the file has as many.

    Returns
    -------
    picture : PIL image
        In mode L or RGB, as stored.
    exif : Exif
        With the orientation.
        None instead of both where Pillow has to decode the file, or to refuse it in its own words.
    """
    import simplejpeg

    header = read_header(content) if content.startswith(_SOI) else None
    limit = Image.MAX_IMAGE_PIXELS
    if header is None or header.n_channels not in _COLORSPACES or 0 in header[:2]:
        return None
    if limit is not None and header.width * header.height > limit:
        return None
    ratio = min(header.width // size, header.height // size)
    scale = next(scale for scale in (8, 4, 2, 1) if ratio >= scale or scale == 1)
    width, height = -(-header.width // scale), -(-header.height // scale)
    exif = Image.Exif()
    try:
        exif.load(header.exif)
        # Strict: an error also for what libjpeg only warns of, and Pillow passes over or refuses.
        pixels = simplejpeg.decode_jpeg(
            content, _COLORSPACES[header.n_channels], min_width=width, min_height=height, strict=True
        )
    except Exception:  # Pillow says what is wrong, if anything is
        return None
    if pixels.shape != (height, width, header.n_channels):
        return None
    return Image.fromarray(pixels if header.n_channels == 3 else pixels[:, :, 0]), exif
