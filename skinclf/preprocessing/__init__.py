"""From image files to uint8 arrays, and from these to standardised or flat arrays."""

from skinclf.preprocessing._color_constancy import ColorConstancy
from skinclf.preprocessing._failures import ImageReadError
from skinclf.preprocessing._flattener import ImageFlattener
from skinclf.preprocessing._hair import HairRemover
from skinclf.preprocessing._loader import ImageLoader
from skinclf.preprocessing._standardizer import ImageStandardizer

__all__ = ["ColorConstancy", "HairRemover", "ImageFlattener", "ImageLoader", "ImageReadError", "ImageStandardizer"]
