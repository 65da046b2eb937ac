"""One image file to one uint8 array, scaled while it is decoded. Pure functions; `_loader` has the transformer."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

Crop = Literal["center"] | None

_FILES_IN_A_MESSAGE = 10

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


class ImageReadError(ValueError):
    """One or more image files could not be read; the message names each file and the cause."""


def decode_image(path: str, size: int, crop: Crop = "center") -> NDArray[np.uint8]:
    """Read one image file as RGB, cropped and scaled.

    JPEG files are decoded at a half, a quarter or an eighth of their size where that is still at least the size
    asked for (Pillow's ``draft``), which saves most of the time. The EXIF orientation is applied. Transparent
    parts become white, 16-bit greys are divided by 257, and of an animation the first frame counts.

    Parameters
    ----------
    path : str
        A file in any format that Pillow reads; the content counts, not the suffix.
    size : int
        Side of the result in pixels.
    crop : {"center", None}, default="center"
        ``"center"`` takes the largest centred square first; ``None`` stretches the whole image to a square.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)
        RGB values in 0–255.

    Raises
    ------
    ImageReadError
        If the file is missing, unreadable, damaged or no image; the message is the cause, without the path.

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
    try:
        with Image.open(path) as image:
            _check_number_of_pixels(image)
            return _to_pixels(image, size, crop)
    except ImageReadError:
        raise
    except UnidentifiedImageError as error:
        raise ImageReadError(_explain_unidentified(path)) from error
    except OSError as error:
        raise ImageReadError(_explain_os_error(path, error)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageReadError(f"too many pixels to be a photo ({error})") from error
    except MemoryError as error:
        raise ImageReadError("it needs more memory than there is; damaged, or too large") from error
    except Exception as error:
        # Pillow's parsers raise whatever they stumble over: struct.error, TypeError and zlib.error among others.
        raise ImageReadError(f"damaged: {error or type(error).__name__}") from error


def _check_number_of_pixels(image: Any) -> None:
    """Refuse what Pillow itself only warns of; a warnings filter would be shared by all threads that decode."""
    limit, n_pixels = Image.MAX_IMAGE_PIXELS, image.width * image.height
    if limit is not None and n_pixels > limit:
        raise ImageReadError(f"too many pixels to be a photo ({n_pixels}; PIL.Image.MAX_IMAGE_PIXELS is {limit})")


def _explain_os_error(path: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError) or error.errno == errno.ELOOP:
        return "a symbolic link that leads nowhere" if Path(path).is_symlink() else "no such file"
    if isinstance(error, IsADirectoryError):
        return "a folder, not an image file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if error.errno is not None:
        return f"cannot be read: {error.strerror}"
    return f"damaged: {error}"


def _explain_unidentified(path: str) -> str:
    with Path(path).open("rb") as file:
        head = file.read(64)
    if not head:
        return "an empty file"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "an HTML page, not an image; the download probably failed"
    if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
        return "a HEIC image, which Pillow cannot read; convert it to JPEG or PNG"
    return "not an image in a format that Pillow reads"


def _to_pixels(image: Any, size: int, crop: Crop) -> NDArray[np.uint8]:
    # The smallest image that the JPEG decoder can make at no cost with `size` pixels on the shorter side.
    image.draft(image.mode, (size, size))
    image.load()
    rgb = _to_rgb(_turn_upright(image))
    resized = rgb.resize((size, size), Image.Resampling.BILINEAR, box=_crop_box(rgb.size, crop))
    return np.asarray(resized, dtype=np.uint8)


def _turn_upright(image: Any) -> Any:
    """Apply the EXIF orientation; Pillow's own function also writes the other tags anew, and fails on odd ones."""
    method = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))
    return image if method is None else image.transpose(method)


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


def list_failures(paths: NDArray[Any], failed: dict[int, str]) -> str:
    """Say in one message which files cannot be read, and why; by row of ``X``."""
    lines = [f"  row {row}: {paths[row]}: {failed[row]}" for row in sorted(failed)[:_FILES_IN_A_MESSAGE]]
    if len(failed) > _FILES_IN_A_MESSAGE:
        lines.append(f"  and {len(failed) - _FILES_IN_A_MESSAGE} more")
    return f"{len(failed)} of {len(paths)} images could not be read:\n" + "\n".join(lines)
