"""One image to one uint8 array, scaled while it is decoded. Pure functions; `_loader` has the transformer."""

from __future__ import annotations

from io import BytesIO
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from skinclf.preprocessing._failures import ImageReadError, explain_os_error, explain_unidentified
from skinclf.preprocessing._jpeg import decode_jpeg
from skinclf.preprocessing._sources import Sources

Crop = Literal["center"] | None
Decoder = Literal["pillow", "simplejpeg"]

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image of each EXIF orientation upright (EXIF 2.3, tag 274)."""


def decode_image(
    source: Any,
    size: int,
    crop: Crop = "center",
    decoder: Decoder = "pillow",
    sources: Sources | None = None,
) -> NDArray[np.uint8]:
    """Read one image as RGB, cropped and scaled.

    JPEG files are decoded at a half, a quarter or an eighth of their size where that is still at least the size
    asked for (Pillow's ``draft``), which saves most of the time. The EXIF orientation is applied. Transparent
    parts become white, 16-bit greys are divided by 257, and of an animation the first frame counts.

    Parameters
    ----------
    source : str, bytes-like, open file or PIL image
        A path, ``archive.zip::member``, or what a file holds, in any format that Pillow reads; the content
        counts, not the suffix. A PIL image is taken as it is, in the frame that it stands at.
    size : int
        Side of the result in pixels.
    crop : {"center", None}, default="center"
        ``"center"`` takes the largest centred square first; ``None`` stretches the whole image to a square.
    decoder : {"pillow", "simplejpeg"}, default="pillow"
        What decodes JPEG. simplejpeg leaves to Pillow what it does not know or has any complaint about.
    sources : Sources, optional
        Shared by threads, and keeps archives open; by default one for this call.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)
        RGB values in 0–255.

    Raises
    ------
    ImageReadError
        If it is missing, unreadable, damaged or no image; the message is the cause, without the path.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> from PIL import Image
    >>> from skinclf.preprocessing._decode import decode_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = str(pathlib.Path(folder) / "lesion.png")
    ...     Image.fromarray(np.full((30, 40, 3), 7, np.uint8)).save(path)
    ...     pixels = decode_image(path, size=16)
    >>> pixels.shape, pixels.dtype, int(pixels.max())
    ((16, 16, 3), dtype('uint8'), 7)
    """
    if sources is None:
        with Sources() as sources:
            return decode_image(source, size, crop, decoder, sources)
    try:
        if isinstance(source, Image.Image):
            picture = _from_pil(source, sources)
        else:
            with sources.open(source) as file:
                picture = _decode(file, size, decoder)
        return _to_pixels(picture, size, crop)
    except ImageReadError:
        raise
    except OSError as error:
        raise ImageReadError(explain_os_error(source if isinstance(source, str) else None, error)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageReadError(f"too many pixels to be a photo ({error})") from error
    except MemoryError as error:
        raise ImageReadError("it needs more memory than there is; damaged, or too large") from error
    except Exception as error:
        # Pillow's parsers raise whatever they stumble over: struct.error, TypeError and zlib.error among others.
        raise ImageReadError(f"damaged: {error or type(error).__name__}") from error


def _decode(file: BinaryIO, size: int, decoder: Decoder) -> Any:
    """Return the picture in a file, upright, in Pillow's own mode, and no smaller than it must be."""
    if decoder == "simplejpeg" and (content := _jpeg_content(file)) and (decoded := decode_jpeg(content, size)):
        return _turn_upright(*decoded)
    file.seek(0)
    try:
        image = Image.open(file)
    except UnidentifiedImageError as error:
        raise ImageReadError(explain_unidentified(file)) from error
    with image:
        _check_number_of_pixels(image)
        # The smallest image that the JPEG decoder can make at no cost with `size` pixels on the shorter side.
        image.draft(image.mode, (size, size))
        image.load()
        return _turn_upright(image, image.getexif())


def _jpeg_content(file: BinaryIO) -> bytes:
    """Return what is in a JPEG file, and nothing of another, which may be large."""
    start = file.read(2)
    if start != b"\xff\xd8":
        return b""
    return file.getvalue() if isinstance(file, BytesIO) else start + file.read()


def _from_pil(image: Any, sources: Sources) -> Any:
    """Return the caller's image, upright; it is loaded, if it has not read its file yet, and not changed."""
    with sources.lock:  # the same image may be in several rows
        _check_number_of_pixels(image)
        try:
            image.load()
        except ValueError as error:
            raise ImageReadError(f"cannot be loaded: {error}") from error
        return _turn_upright(image, image.getexif())


def _check_number_of_pixels(image: Any) -> None:
    """Refuse what Pillow itself only warns of; a warnings filter would be shared by all threads that decode."""
    limit, n_pixels = Image.MAX_IMAGE_PIXELS, image.width * image.height
    if limit is not None and n_pixels > limit:
        raise ImageReadError(f"too many pixels to be a photo ({n_pixels}; PIL.Image.MAX_IMAGE_PIXELS is {limit})")


def _to_pixels(picture: Any, size: int, crop: Crop) -> NDArray[np.uint8]:
    rgb = _to_rgb(picture)
    resized = rgb.resize((size, size), Image.Resampling.BILINEAR, box=_crop_box(rgb.size, crop))
    return np.asarray(resized, dtype=np.uint8)


def _turn_upright(picture: Any, exif: Any) -> Any:
    """Apply the EXIF orientation; Pillow's own function also writes the other tags anew, and fails on odd ones."""
    method = _UPRIGHT.get(exif.get(ExifTags.Base.Orientation))
    return picture if method is None else picture.transpose(method)


def _crop_box(image_size: tuple[int, int], crop: Crop) -> tuple[float, float, float, float]:
    width, height = image_size
    if crop is None:
        return (0, 0, width, height)
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return (left, top, left + side, top + side)


def _to_rgb(image: Any) -> Any:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_grey_to_uint8(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _grey_to_uint8(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale 16-bit greys to 8 bits; Pillow's own conversion would saturate everything above 255."""
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
        raise ImageReadError(f"{values.dtype} values from {values.min():g} to {values.max():g}, not 8- or 16-bit")
    return (values.astype(np.float64) / 257 + 0.5).astype(np.uint8)
