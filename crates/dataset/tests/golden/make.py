"""Writes the images of this folder and what Pillow and numpy make of them (expected.json).

    python make.py        # needs numpy and pillow

The images are small and synthetic: gradients, noise and edges, in every form whose decoding has its own rules.
"""

import json
import os
import zlib

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
H, W = 37, 53


def picture():
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:H, 0:W]
    rgb = np.stack([x * 255 // (W - 1), y * 255 // (H - 1), (x * 7 + y * 11) % 256], axis=-1)
    rgb[8:20, 10:30] = rng.integers(0, 256, (12, 20, 3))
    rgb[25:30] = 255 - rgb[25:30]
    return rgb.astype(np.uint8)


def png16(path, color, samples):
    """A 16-bit PNG, which Pillow cannot write in colour."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)

    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([16, color, 0, 0, 0])
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    with open(path, "wb") as f:
        f.write(data)


def save(name, image, **options):
    image.save(os.path.join(HERE, name), **options)


def digest(array):
    """Little-endian bytes as CRC-32: enough to see any difference."""
    return zlib.crc32(np.ascontiguousarray(array).tobytes())


def make_images():
    rgb = picture()
    image = Image.fromarray(rgb)
    alpha = Image.fromarray(np.dstack([rgb, rgb[..., ::-1].max(-1)]), "RGBA")
    save("rgb.png", image)
    save("rgba.png", alpha)
    save("gray.png", image.convert("L"))
    save("gray_alpha.png", alpha.convert("LA"))
    save("bits.png", image.convert("1"))
    save("palette.png", image.quantize(16))
    transparent = image.quantize(16)
    save("palette_transparent.png", transparent, transparency=3)
    wide = rgb.astype(np.uint32) * 257 - (rgb > 0) * 100
    png16(os.path.join(HERE, "rgb16.png"), 2, wide)
    png16(os.path.join(HERE, "gray16.png"), 0, wide[..., 0])
    save("rgb.bmp", image)
    save("lossless.webp", image, lossless=True)
    save("alpha.webp", alpha, lossless=True, exact=True)
    save("444.jpg", image, quality=90, subsampling=0)
    save("422.jpg", image, quality=85, subsampling=1)
    save("420.jpg", image, quality=80, subsampling=2)
    save("progressive.jpg", image, quality=80, subsampling=2, progressive=True)
    save("gray.jpg", image.convert("L"), quality=85)
    save("cmyk.jpg", image.convert("CMYK"), quality=90)
    exif = Image.Exif()
    exif[0x0112] = 6
    save("rotated.jpg", image, quality=85, exif=exif)


def resized(image, size):
    """The shorter side becomes `size`, as torchvision counts."""
    w, h = image.size
    short, long = min(w, h), max(w, h)
    longer = int(size * long / short)
    return image.resize((size, longer) if w <= h else (longer, size), Image.BILINEAR)


def cropped(image, height, width):
    w, h = image.size
    left, top = (w - width) // 2, (h - height) // 2
    return image.crop((left, top, left + width, top + height))


def main():
    make_images()
    expected = {"decode": {}, "resize": {}, "recipe": {}}
    for name in sorted(os.listdir(HERE)):
        # Refused, because Pillow saturates it.
        if os.path.splitext(name)[1] in (".png", ".jpg", ".bmp", ".webp") and name != "gray16.png":
            expected["decode"][name] = digest(np.asarray(Image.open(os.path.join(HERE, name)).convert("RGB")))
    image = Image.open(os.path.join(HERE, "rgb.png")).convert("RGB")
    for key, made in {
        "resize = 20": resized(image, 20),
        "resize = 64": resized(image, 64),
        "resize = [24, 24]": image.resize((24, 24), Image.BILINEAR),
        "resize = [90, 31]": image.resize((31, 90), Image.BILINEAR),
        "resize = [37, 20]": image.resize((20, 37), Image.BILINEAR),
        "resize = 20\ncrop = [13, 16]": cropped(resized(image, 20), 13, 16),
        "crop = 32": cropped(image, 32, 32),
    }.items():
        made = np.asarray(made)
        expected["resize"][key] = {"shape": made.shape[:2], "pixels": digest(made)}
    x = np.asarray(image).astype(np.float32)
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    numbers = "mean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]"
    gray = np.asarray(image.convert("L")).astype(np.float32)[..., None]
    for key, made in {
        "": x / 255,
        "divide = 255": x / 255,
        "scale = 0.00392156862745098": x * np.float32(0.00392156862745098),
        "divide = 127.5\nmean = 1\nstd = 1": x / 127.5 - 1,
        "divide = 127.5\nmean = [1, 1, 1]": x / 127.5 - 1,
        f"divide = 255\n{numbers}": (x / 255 - mean) / std,
        f"scale = 0.00392156862745098\n{numbers}": (x * np.float32(0.00392156862745098) - mean) / std,
        "channels = \"BGR\"\nscale = 1": x[..., ::-1],
        f"channels = \"BGR\"\ndivide = 255\n{numbers}": (x[..., ::-1] / 255 - mean) / std,
        "channels = \"GRAY\"": gray / 255,
    }.items():
        assert made.dtype == np.float32
        expected["recipe"][key] = {"nchw": digest(made.transpose(2, 0, 1)), "nhwc": digest(made)}
    with open(os.path.join(HERE, "expected.json"), "w") as f:
        json.dump(expected, f, indent=1)
        f.write("\n")


main()
