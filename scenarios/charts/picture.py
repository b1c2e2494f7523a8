"""Images of a set as PNG: as they are, and their difference made visible."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.float32]  # c h w, 1 or 3 channels, in [0, 1]
SIDE = 112  # pixels that a small image is enlarged to at least, each of its pixels a square


def png(picture: Picture) -> bytes:
    """The image, a small one enlarged by a whole factor without smoothing."""
    codes = (picture * 255).round().clip(0, 255).astype(np.uint8)
    factor = max(1, -(-SIDE // min(codes.shape[1:])))
    codes = codes.repeat(factor, axis=1).repeat(factor, axis=2)
    out = BytesIO()
    Image.fromarray(codes[0] if len(codes) == 1 else codes[:3].transpose(1, 2, 0)).save(out, format="PNG")
    return out.getvalue()


def small(picture: Picture) -> tuple[str, bytes]:
    """A kind of file and the image in few bytes: as it is up to 64 pixels, which a page may enlarge; else of `SIDE`."""
    codes = (picture * 255).round().clip(0, 255).astype(np.uint8)
    image = Image.fromarray(codes[0] if len(codes) == 1 else codes[:3].transpose(1, 2, 0))
    out = BytesIO()
    if max(image.size) <= 64:
        image.save(out, format="PNG", optimize=True)
        return "png", out.getvalue()
    image.thumbnail((SIDE, SIDE))
    image.save(out, format="JPEG", quality=85)
    return "jpeg", out.getvalue()


def perturbation(clean: Picture, adversarial: Picture) -> tuple[Picture, float]:
    """What was added to an image, grey where nothing was, scaled so that the largest change is black or white.

    Returns:
        The image, and the factor of the scaling; 0 where the two are the same.
    """
    change = adversarial.astype(np.float32) - clean
    largest = float(np.abs(change).max(initial=0.0))
    factor = 0.5 / largest if largest else 0.0
    return (0.5 + factor * change).astype(np.float32), factor


def sizes(clean: Picture, adversarial: Picture) -> tuple[float, float]:
    """Linf, in 255ths, and L2, in units of [0, 1], of what was added."""
    change = (adversarial - clean).astype(np.float64)
    return 255 * float(np.abs(change).max(initial=0.0)), float(np.sqrt((change**2).sum()))


def beside(*pictures: Picture) -> Picture:
    """Pictures side by side, a white line between them."""
    _, rows, _ = pictures[0].shape
    channels = max(len(picture) for picture in pictures)
    line = np.ones((channels, rows, max(1, rows // 28)), dtype=np.float32)
    parts = [part for picture in pictures for part in (line, np.broadcast_to(picture, (channels, *picture.shape[1:])))]
    return np.concatenate(parts[1:], axis=2)
