"""CIFAR-10 as an image folder to pretrain on, and a table of tasks that need different invariances.

    python benchmarks/quality/cifar.py ARCHIVES OUTPUT

ARCHIVES holds zip files with ``train/<class>/<n>.jpg`` and ``test/<class>/<n>.jpg``. OUTPUT gets
``train/`` (class folders; the images of ``--train`` archives) and ``tasks/`` with ``labels.csv``.
All draws are seeded: the same archives give the same images and labels.

Tasks on the images as they are, 10,000 to train on and 10,000 to test:

- ``class``; ``class-10%`` and ``class-1%`` keep the labels of every tenth or hundredth image;
- ``warmth``: the dominant colour, from cold to warm: quartiles of mean red minus mean blue.

Tasks on changed copies, 4,000 to train on and 4,000 to test, every answer equally likely:

- ``rotation``: by 0, 90, 180 or 270 degrees;
- ``hue``: shifted by a quarter, a half or three quarters of the wheel, or not, give or take 1/16;
- ``scale``: a square of the whole image, a half, a quarter or an eighth of its area, resized;
- ``blur``: Gaussian, of 0, 0.5, 1 or 2 px;
- ``side``: lit from the left or from the right. Whether a photograph is mirrored cannot be told
  from it, as mirror images are as natural; where its light comes from does change with mirroring.
"""

import argparse
import csv
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from torchvision.transforms.functional import adjust_hue

COPIES = 4000  # changed copies in each split
SIDE = 32
Change = Callable[[Image.Image, int, np.random.Generator], Image.Image]


def rotate(image: Image.Image, answer: int, rng: np.random.Generator) -> Image.Image:
    """Turn by quarters of a turn."""
    return image.rotate(90 * answer)


def shift_hue(image: Image.Image, answer: int, rng: np.random.Generator) -> Image.Image:
    """Turn the colour wheel by quarters, give or take a sixteenth."""
    turns = answer / 4 + rng.uniform(-1 / 16, 1 / 16)
    return adjust_hue(image, (turns + 0.5) % 1 - 0.5)


def zoom(image: Image.Image, answer: int, rng: np.random.Generator) -> Image.Image:
    """Cut out a square of 1, 1/2, 1/4 or 1/8 of the area."""
    side = SIDE * 2 ** (-answer / 2)
    left, top = rng.uniform(0, SIDE - side, 2)
    box = (left, top, left + side, top + side)
    return image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box)


def blur(image: Image.Image, answer: int, rng: np.random.Generator) -> Image.Image:
    """Blur by 0, 0.5, 1 or 2 px."""
    return image.filter(ImageFilter.GaussianBlur((0, 0.5, 1, 2)[answer]))


def light(image: Image.Image, answer: int, rng: np.random.Generator) -> Image.Image:
    """Darken away from the left (0) or the right (1), to between 40 and 80 % at the far end."""
    ramp = np.linspace(1, rng.uniform(0.4, 0.8), SIDE)
    ramp = ramp[:: -1 if answer else 1, None]
    return Image.fromarray((np.asarray(image) * ramp).round().astype(np.uint8))


CHANGES: dict[str, tuple[Change, tuple[str, ...]]] = {
    "rotation": (rotate, ("0", "90", "180", "270")),
    "hue": (shift_hue, ("none", "quarter", "half", "three quarters")),
    "scale": (zoom, ("whole", "half", "quarter", "eighth")),
    "blur": (blur, ("none", "0.5 px", "1 px", "2 px")),
    "side": (light, ("left", "right")),
}
ORIGINAL = ("class", "class-10%", "class-1%", "warmth")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archives", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--train", nargs="+", default=["cifar10-train-0.zip"])
    parser.add_argument("--test", default="cifar10-test.zip")
    options = parser.parse_args()
    if options.output.exists():
        parser.error(f"{options.output} is there already: remove it, or name another folder")
    with tempfile.TemporaryDirectory(dir=options.output.absolute().parent) as scratch:
        for name in (*options.train, options.test):
            with zipfile.ZipFile(options.archives / name) as archive:
                archive.extractall(scratch)
        convert(Path(scratch), options.output)


def convert(source: Path, output: Path) -> None:
    """Write both folders; ``tasks/labels.csv`` comes last."""
    tasks = output / "tasks"
    rows: list[dict[str, str]] = []
    warmth: np.ndarray | None = None
    for split, folder in (("train", source / "train"), ("val", source / "test")):
        images = _every_class_in_turn(folder)
        colours = np.array([_warmth(path) for path in images])
        if warmth is None:  # the same bounds for both splits
            warmth = np.quantile(colours, (0.25, 0.5, 0.75))
        rows += _originals(images, np.digitize(colours, warmth), split, tasks)
        for kind in CHANGES:
            rows += _copies(images, kind, split, tasks)
    shutil.move(source / "train", output / "train")
    columns = ("file", "split", *ORIGINAL, *CHANGES)
    with (tasks / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="-")
        writer.writeheader()
        writer.writerows(rows)


def _every_class_in_turn(folder: Path) -> list[Path]:
    """The images, so that any first ones hold equally many of every class."""
    classes = [sorted(path.iterdir()) for path in sorted(folder.iterdir())]
    return [path for group in zip(*classes, strict=True) for path in group]


def _warmth(path: Path) -> float:
    red, _, blue = np.asarray(Image.open(path).convert("RGB")).mean((0, 1))
    return float(red - blue)


def _originals(
    images: Sequence[Path], warmth: np.ndarray, split: str, tasks: Path
) -> list[dict[str, str]]:
    rows = []
    folder = tasks / split / "original"
    folder.mkdir(parents=True)
    for place, (path, quartile) in enumerate(zip(images, warmth, strict=True)):
        label, number = path.parent.name, place // 10  # of ten classes
        copied = shutil.copy(path, folder / f"{label}-{path.name}")
        row = {"file": _name(copied, tasks), "split": split, "class": label}
        row["warmth"] = ("cold", "cool", "mild", "warm")[quartile]
        for share, every in (("class-10%", 10), ("class-1%", 100)):
            row[share] = label if split == "val" or number % every == 0 else "-"
        rows.append(row)
    return rows


def _copies(images: Sequence[Path], kind: str, split: str, tasks: Path) -> list[dict[str, str]]:
    change, answers = CHANGES[kind]
    rng = np.random.default_rng([list(CHANGES).index(kind), split == "val"])
    folder = tasks / split / kind
    folder.mkdir(parents=True)
    rows = []
    for place, index in enumerate(rng.permutation(len(images))[:COPIES]):
        answer = place % len(answers)
        changed = change(Image.open(images[index]).convert("RGB"), answer, rng)
        file = folder / f"{place:05}.png"
        changed.save(file)
        rows.append({"file": _name(file, tasks), "split": split, kind: answers[answer]})
    return rows


def _name(file: str | Path, tasks: Path) -> str:
    return Path(file).relative_to(tasks).as_posix()


if __name__ == "__main__":
    main()
