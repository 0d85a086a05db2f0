"""Pictures in posts: checked, turned upright, re-encoded, and kept in two sizes.

What a visitor sends is never served. Only what Pillow has decoded is written again, as WebP: so a file
that merely calls itself a picture is refused, and where a photo was taken (EXIF) is not told to anybody.
"""

import logging
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from carboy import current_app

try:
    from PIL import Image, ImageOps
except ImportError:  # the board runs without; keep_picture says what to do
    Image = None

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
MOST_PIXELS = 40_000_000  # a small file can unpack to gigabytes; this is a good camera, and 160 MB
WHOLE = (1600, 1600)  # pixels, at most, sides kept in proportion
THUMBNAIL = (480, 360)  # pixels, exactly, cut around the middle

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that has been kept. Its files are ``<name>.webp`` and ``<name>-small.webp``."""

    name: str
    width: int  # pixels of the large one
    height: int
    alt: str = ""  # what it shows, for those who do not see it


class PictureRefused(Exception):
    """The file cannot be kept; the text says why, for the visitor."""


def keep_picture(sent: IO[bytes], folder: Path, alt: str = "") -> Picture:
    """Check a picture and write it into the folder, large and small.

    Raises:
        PictureRefused: it is no picture, or too big, or Pillow is missing.
    """
    if Image is None:
        log.error("A picture was refused: Pillow is missing. Run: python -m pip install pillow")
        raise PictureRefused(
            "This board cannot take pictures: Pillow is not installed. "
            "Whoever runs it can type: python -m pip install pillow"
        )
    try:
        image = Image.open(sent, formats=FORMATS)
        if image.width * image.height > MOST_PIXELS:
            raise Image.DecompressionBombError
        image = ImageOps.exif_transpose(image).convert("RGBA" if image.has_transparency_data else "RGB")
    except Image.DecompressionBombError as error:
        raise PictureRefused(f"The picture may have {MOST_PIXELS // 10**6} million pixels.") from error
    except Exception as error:  # decoders fail in a dozen ways: OSError, SyntaxError, struct.error …
        raise PictureRefused(
            "This is not a picture we can read. JPEG, PNG, WebP and GIF are fine."
        ) from error

    name = secrets.token_urlsafe(12)
    folder.mkdir(parents=True, exist_ok=True)
    ImageOps.fit(image, THUMBNAIL).save(folder / f"{name}-small.webp", quality=80)
    image.thumbnail(WHOLE)
    image.save(folder / f"{name}.webp", quality=85)
    return Picture(name, image.width, image.height, alt)


def delete_picture(name: str, folder: Path) -> None:
    """Delete both files of a picture; those already gone are fine."""
    (folder / f"{name}-small.webp").unlink(missing_ok=True)
    (folder / f"{name}.webp").unlink(missing_ok=True)


def pictures_folder() -> Path:
    """Where the pictures are."""
    folder: Path = current_app.config["DATA"] / "pictures"
    return folder
