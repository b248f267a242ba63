"""A small clean COCO panoptic folder, and the faults that tests plant in it, written without the code under test."""

from __future__ import annotations

import io
import json
import struct
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

HEIGHT, WIDTH = 24, 32
CAR, PERSON, ROAD, SKY = 3, 4, 21, 22  # category ids, with a gap
SEGMENTS = {70_000: CAR, 70_001: CAR, 300: PERSON, 7: ROAD, 9: SKY}  # ids of three, two and one byte
IMAGES = {"train": ["a.jpg", "b.png"], "val": ["sub folder/straße 1.jpg", "c.png"]}
CATEGORIES = [
    {"id": CAR, "name": "car", "isthing": 1, "color": [200, 0, 0]},
    {"id": PERSON, "name": "person", "isthing": 1, "color": [0, 200, 0]},
    {"id": ROAD, "name": "road", "isthing": 0, "color": [90, 90, 90]},
    {"id": SKY, "name": "sky", "isthing": 0, "color": [0, 90, 200]},
]


def clean_ids() -> NDArray[np.int64]:
    """(HEIGHT, WIDTH): a void line above, sky, road, and three things of 20, 24 and 12 pixels."""
    ids = np.full((HEIGHT, WIDTH), 9)
    ids[0] = 0
    ids[12:] = 7
    ids[14:18, 2:7] = 70_000
    ids[18:22, 20:26] = 70_001
    ids[8:14, 15:17] = 300
    return ids


def to_rgb(ids: NDArray[np.int64]) -> NDArray[np.uint8]:
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)


def table(ids: NDArray[np.int64]) -> list[dict[str, Any]]:
    rows = []
    for segment_id, category_id in SEGMENTS.items():
        y, x = np.nonzero(ids == segment_id)
        box = [int(x.min()), int(y.min()), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1]
        rows.append({"id": segment_id, "category_id": category_id, "area": len(x), "bbox": box, "iscrowd": 0})
    return rows


class PlantedFolder:
    """The clean folder at `root`, ready to be spoilt."""

    def __init__(self, root: Path) -> None:
        self.root = root
        rng = np.random.default_rng(0)
        for split, names in IMAGES.items():
            document: dict[str, Any] = {"info": {"year": 2017}, "images": [], "annotations": []}
            for image_id, name in enumerate(names, start=1):
                photo, png = self.photo(split, image_id), self.png(split, image_id)
                photo.parent.mkdir(parents=True, exist_ok=True)
                png.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(photo)
                Image.fromarray(to_rgb(clean_ids())).save(png)
                entry = {"id": image_id, "file_name": name, "height": HEIGHT, "width": WIDTH, "license": 1}
                png_name = Path(name).with_suffix(".png").as_posix()
                row = {"image_id": image_id, "file_name": png_name, "segments_info": table(clean_ids())}
                document["images"].append(entry)
                document["annotations"].append(row)
            self.write(split, {**document, "categories": CATEGORIES})

    def json_path(self, split: str = "train") -> Path:
        return self.root / "annotations" / f"panoptic_{split}.json"

    def photo(self, split: str = "train", image_id: int = 1) -> Path:
        return self.root / split / IMAGES[split][image_id - 1]

    def png(self, split: str = "train", image_id: int = 1) -> Path:
        return self.root / "annotations" / f"panoptic_{split}" / Path(IMAGES[split][image_id - 1]).with_suffix(".png")

    def write(self, split: str, document: dict[str, Any]) -> None:
        self.json_path(split).write_text(json.dumps(document), encoding="utf-8")

    def edit(self, change: Callable[[dict[str, Any]], object], split: str = "train") -> None:
        """Changes a split's JSON."""
        document = json.loads(self.json_path(split).read_text(encoding="utf-8"))
        change(document)
        self.write(split, document)

    def segment(self, segment_id: int, **changes: Any) -> None:
        """Changes a row of the first training image; the value ... removes the key."""

        def change(document: dict[str, Any]) -> None:
            row = next(r for r in document["annotations"][0]["segments_info"] if r["id"] == segment_id)
            row.update(changes)
            for key in [key for key, value in changes.items() if value is ...]:
                del row[key]

        self.edit(change)

    def paint(self, ids: NDArray[np.int64], *, recount: bool = True) -> None:
        """Gives the first training image another map, and its JSON rows the map's areas and boxes."""
        Image.fromarray(to_rgb(ids)).save(self.png())
        if recount:
            self.edit(lambda d: d["annotations"][0].update(segments_info=table(ids)))


@dataclass(frozen=True)
class Fault:
    """A planted fault.

    Attributes:
        plant: Spoils the clean folder.
        codes: Every code that the doctor must report, and no other.
        is_mechanical: `--fix` must leave a clean folder.
    """

    plant: Callable[[PlantedFolder], object]
    codes: frozenset[str]
    is_mechanical: bool = False


def fault(plant: Callable[[PlantedFolder], object], *codes: str, mechanical: bool = False) -> Fault:
    return Fault(plant, frozenset(codes), mechanical)


def _image(**changes: Any) -> Callable[[PlantedFolder], object]:
    return lambda f: f.edit(lambda d: d["images"][0].update(changes))


def _annotation(**changes: Any) -> Callable[[PlantedFolder], object]:
    return lambda f: f.edit(lambda d: d["annotations"][0].update(changes))


def _category(number: int, **changes: Any) -> Callable[[PlantedFolder], object]:
    def plant(folder: PlantedFolder) -> None:
        for split in IMAGES:
            folder.edit(lambda d: d["categories"][number].update(changes), split)

    return plant


def _categories(change: Callable[[list[Any]], object]) -> Callable[[PlantedFolder], object]:
    def plant(folder: PlantedFolder) -> None:
        for split in IMAGES:
            folder.edit(lambda d: change(d["categories"]), split)

    return plant


def _segment(segment_id: int, **changes: Any) -> Callable[[PlantedFolder], object]:
    return lambda f: f.segment(segment_id, **changes)


def _painted(change: Callable[[NDArray[np.int64]], object], *, recount: bool) -> Callable[[PlantedFolder], object]:
    def plant(folder: PlantedFolder) -> None:
        ids = clean_ids()
        change(ids)
        folder.paint(ids, recount=recount)

    return plant


def _set(where: Any, value: int) -> Callable[[NDArray[np.int64]], object]:
    return lambda ids: ids.__setitem__(where, value)


def _photo(save: Callable[[Image.Image, Path], object], name: str = "b.png") -> Callable[[PlantedFolder], object]:
    def plant(folder: PlantedFolder) -> None:
        path = folder.photo(image_id=IMAGES["train"].index(name) + 1)
        with Image.open(path) as picture:
            picture.load()
        save(picture, path)

    return plant


def _exif(orientation: int, *, turn: int | None = None) -> Callable[[Image.Image, Path], object]:
    """A JPEG with an orientation tag; `turn` stores its pixels so that following the tag restores them."""

    def save(picture: Image.Image, path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        (picture if turn is None else picture.rotate(turn, expand=True)).save(path, exif=exif)

    return save


def _damaged_exif(picture: Image.Image, path: Path) -> None:
    """Orientation 6, and a pointer to GPS data that leads before the start: Pillow cannot turn it."""
    entries = struct.pack("<H", 2) + struct.pack("<HHII", 0x112, 3, 1, 6) + struct.pack("<HHIi", 0x8825, 9, 1, -120)
    picture.save(path, exif=b"Exif\0\0II*\0\x08\0\0\0" + entries + bytes(4))


def _label(save: Callable[[NDArray[np.uint8], Path], object]) -> Callable[[PlantedFolder], object]:
    return lambda f: save(to_rgb(clean_ids()), f.png())


def _in_few_colours(save: Callable[[NDArray[np.int64], Path], object]) -> Callable[[PlantedFolder], object]:
    """Labels of ids below 256, as grey and palette PNGs hold them: 70000 -> 50, 70001 -> 51, 300 -> 52."""

    def plant(folder: PlantedFolder) -> None:
        small = {70_000: 50, 70_001: 51, 300: 52, 7: 7, 9: 9}
        ids = clean_ids()
        save(np.vectorize(lambda i: small.get(i, 0))(ids), folder.png())

        def rename(document: dict[str, Any]) -> None:
            for row in document["annotations"][0]["segments_info"]:
                row["id"] = small[row["id"]]

        folder.edit(rename)

    return plant


def _palette_index(ids: NDArray[np.int64], path: Path) -> None:
    picture = Image.fromarray(ids.astype(np.uint8), mode="P")
    picture.putpalette([v for i in range(256) for v in (255 - i, i, 128)])
    picture.save(path)


def _palette_colour(rgb: NDArray[np.uint8], path: Path) -> None:
    colours, index = np.unique(rgb.reshape(-1, 3), axis=0, return_inverse=True)
    picture = Image.fromarray(index.reshape(rgb.shape[:2]).astype(np.uint8), mode="P")
    picture.putpalette(colours.ravel().tolist())
    picture.save(path)


def _cut(path: Path, share: float = 0.6) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def _scatter(ids: NDArray[np.int64]) -> None:
    ids[14:18, 2:7] = 7
    ids[20:23, 0:4] = 70_000
    ids[13:16, 27:31] = 70_000  # 23 columns away, each part 4 wide


def _specks(ids: NDArray[np.int64]) -> None:
    ids[13:24:3, 0:12:2] = 70_000


def _mostly_void(ids: NDArray[np.int64]) -> None:
    """Leaves the things, one line of sky, one of road: 1 - (20 + 24 + 12 + 32 - 2 + 32) / 768 is void."""
    ids[1:11][ids[1:11] == 9] = 0
    ids[12:23][ids[12:23] == 7] = 0


def _only_in_val(folder: PlantedFolder) -> None:
    for number in (0, 1):
        folder.edit(
            lambda d, n=number: [
                r.update(category_id=CAR) for r in d["annotations"][n]["segments_info"] if r["category_id"] == PERSON
            ]
        )


def _only_in_train(folder: PlantedFolder) -> None:
    for number in (0, 1):
        folder.edit(
            lambda d, n=number: [
                r.update(category_id=CAR) for r in d["annotations"][n]["segments_info"] if r["category_id"] == PERSON
            ],
            "val",
        )


def _rare(folder: PlantedFolder) -> None:
    """2002 persons, tiles of 12 x 2 pixels, on sky: against 2003 persons there are one road and two cars and skies."""
    rows, columns, things = 20, 101, 2002
    tiles = np.arange(rows * columns).reshape(rows, columns) + 1000
    tiles[tiles >= 1000 + things] = 9
    ids = tiles.repeat(12, axis=0).repeat(2, axis=1)
    table = [
        {"id": 1000 + i, "category_id": PERSON, "area": 24, "bbox": [i % columns * 2, i // columns * 12, 2, 12]}
        for i in range(things)
    ]
    rest = rows * columns - things
    box = [2 * (columns - rest), 12 * (rows - 1), 2 * rest, 12]
    table.append({"id": 9, "category_id": SKY, "area": 24 * rest, "bbox": box})
    Image.fromarray(to_rgb(ids)).save(folder.png())
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 255, (*ids.shape, 3), dtype=np.uint8)).save(folder.photo())
    _image(height=ids.shape[0], width=ids.shape[1])(folder)
    _annotation(segments_info=table)(folder)


def _copy(folder: PlantedFolder, split: str) -> None:
    """The second image of a split becomes a copy of the first training photo, in another format."""
    with Image.open(folder.photo()) as picture:
        picture.save(folder.photo(split, 2))


def _split_of_two_names(folder: PlantedFolder) -> None:
    folder.json_path("train2017").write_bytes(folder.json_path().read_bytes())


def _move(folder: PlantedFolder, part: str, to: str) -> None:
    (folder.root / part).rename(folder.root / to)


def _rename_photo(name: str) -> Callable[[PlantedFolder], object]:
    def plant(folder: PlantedFolder) -> None:
        folder.photo().rename(folder.root / "train" / name)
        _image(file_name=name)(folder)

    return plant


def _equal_photo_beside(folder: PlantedFolder, name: str) -> None:
    """A third training image `name`, with a photo and a label of its own."""
    rng = np.random.default_rng(5)
    Image.fromarray(rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(folder.root / "train" / name)
    (folder.png().parent / "third.png").write_bytes(folder.png().read_bytes())

    def add(document: dict[str, Any]) -> None:
        document["images"].append({**document["images"][0], "id": 3, "file_name": name})
        document["annotations"].append({**document["annotations"][0], "image_id": 3, "file_name": "third.png"})

    folder.edit(add)


def _png_with(array: NDArray[Any]) -> Callable[[PlantedFolder], object]:
    return lambda f: f.png().write_bytes(cv2.imencode(".png", array)[1].tobytes())


def _jpeg_label(rgb: NDArray[np.uint8], path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG")
    path.write_bytes(buffer.getvalue())


RGB16 = to_rgb(clean_ids())[..., ::-1].astype(np.uint16)  # OpenCV writes BGR
NFD = unicodedata.normalize("NFD", "ä.jpg")

FAULTS: dict[str, Fault] = {
    # JSON file
    "json cut off": fault(lambda f: _cut(f.json_path()), "json-unreadable"),
    "json empty file": fault(lambda f: f.json_path().write_bytes(b""), "json-unreadable"),
    "json is a list": fault(lambda f: f.json_path().write_text("[]"), "json-unreadable"),
    "json not text": fault(lambda f: f.json_path().write_bytes(b'{"info": "\xff\xfe\xfa"}'), "json-unreadable"),
    "json of instances": fault(
        lambda f: f.edit(lambda d: d.update(annotations=[{"id": 1, "image_id": 1, "segmentation": [], "area": 3}])),
        "json-not-panoptic",
    ),
    "json without annotations": fault(lambda f: f.edit(lambda d: d.pop("annotations")), "json-key-missing"),
    "json without categories": fault(lambda f: f.edit(lambda d: d.pop("categories")), "json-key-missing"),
    "json of no images": fault(
        lambda f: f.edit(lambda d: d["images"].clear()),
        "json-empty",
        "annotation-without-image",
        "photo-unlisted",
        "png-unlisted",
    ),
    "two names of a split": fault(_split_of_two_names, "split-ambiguous", "split-folder-missing"),
    "photo folder missing": fault(lambda f: _move(f, "train", "photos"), "split-folder-missing"),
    "png folder missing": fault(
        lambda f: _move(f, "annotations/panoptic_val", "annotations/labels"),
        "split-folder-missing",
    ),
    "json missing": fault(lambda f: f.json_path().unlink(), "split-json-missing"),
    # Categories
    "category without isthing": fault(_categories(lambda c: c[0].pop("isthing")), "category-field"),
    "isthing 2": fault(_category(0, isthing=2), "category-field"),
    "category id text": fault(
        _categories(lambda c: c.append({"id": "5", "name": "x", "isthing": 1})), "category-field"
    ),
    "category without name": fault(_categories(lambda c: c[1].pop("name")), "category-field"),
    "category colour of two": fault(_category(0, color=[1, 2]), "category-color", mechanical=True),
    "category colour 256": fault(_category(0, color=[1, 2, 256]), "category-color", mechanical=True),
    "category twice, equal": fault(_categories(lambda c: c.append(c[0])), "category-duplicate", mechanical=True),
    "category twice, different": fault(
        _categories(lambda c: c.append({**c[0], "name": "lorry"})), "category-duplicate"
    ),
    "category name twice": fault(_category(1, name="car"), "category-name-duplicate"),
    "category colour twice": fault(_category(1, color=[200, 0, 0]), "category-color-duplicate", mechanical=True),
    "category names differ": fault(
        lambda f: f.edit(lambda d: d["categories"][0].update(name="auto"), "val"), "categories-differ"
    ),
    "category kinds differ": fault(
        lambda f: f.edit(lambda d: d["categories"][1].update(isthing=0), "val"), "categories-differ"
    ),
    "category lists differ": fault(
        lambda f: f.edit(lambda d: d["categories"].append({"id": 50, "name": "tree", "isthing": 0}), "val"),
        "categories-differ",
        "category-unused",
    ),
    "category unused": fault(
        _categories(lambda c: c.append({"id": 50, "name": "tree", "isthing": 0})), "category-unused"
    ),
    "category in val only": fault(_only_in_val, "category-not-in-train"),
    "category in train only": fault(_only_in_train, "category-not-in-val"),
    "category rare": fault(_rare, "category-rare"),
    # Entries
    "image without file name": fault(
        lambda f: f.edit(lambda d: d["images"][0].pop("file_name")), "image-field", "photo-unlisted"
    ),
    "image id null": fault(
        _image(id=None), "image-field", "annotation-without-image", "photo-unlisted", "png-unlisted"
    ),
    "image height text": fault(_image(height="24"), "image-field", mechanical=True),
    "image height 0": fault(_image(height=0), "image-field", mechanical=True),
    "image entry a number": fault(lambda f: f.edit(lambda d: d["images"].append(7)), "image-field"),
    "image twice, equal": fault(
        lambda f: f.edit(lambda d: d["images"].append(d["images"][0])), "image-id-duplicate", mechanical=True
    ),
    "image id twice": fault(
        lambda f: f.edit(lambda d: d["images"][1].update(id=1)),
        "image-id-duplicate",
        "annotation-without-image",
        "photo-unlisted",
        "png-unlisted",
    ),
    "photo listed twice": fault(_image(file_name="b.png"), "image-file-duplicate", "photo-unlisted"),
    "image without annotation": fault(
        lambda f: f.edit(lambda d: d["annotations"].pop(0)), "image-without-annotation", "png-unlisted"
    ),
    "annotation without image": fault(
        lambda f: f.edit(
            lambda d: d["annotations"].append({"image_id": 99, "file_name": "a.png", "segments_info": []})
        ),
        "annotation-without-image",
        mechanical=True,
    ),
    "annotation entry a text": fault(lambda f: f.edit(lambda d: d["annotations"].append("x")), "annotation-field"),
    "annotation without segments": fault(
        lambda f: f.edit(lambda d: d["annotations"][0].pop("segments_info")),
        "annotation-field",
        "png-id-unlisted",
        "image-no-segments",
    ),
    "annotation twice, equal": fault(
        lambda f: f.edit(lambda d: d["annotations"].append(d["annotations"][0])),
        "annotation-duplicate",
        mechanical=True,
    ),
    "annotation twice, different": fault(
        lambda f: f.edit(lambda d: d["annotations"].append({**d["annotations"][0], "segments_info": []})),
        "annotation-duplicate",
    ),
    "png listed twice": fault(_annotation(file_name="b.png"), "png-shared", "png-unlisted"),
    "photo name leads outside": fault(_image(file_name="../val/c.png"), "name-unsafe", "photo-unlisted"),
    "photo name absolute": fault(_image(file_name="/etc/hostname"), "name-unsafe", "photo-unlisted"),
    "png name leads outside": fault(_annotation(file_name="../panoptic_val/c.png"), "name-unsafe", "png-unlisted"),
    "names differ in case": fault(lambda f: _equal_photo_beside(f, "A.jpg"), "name-near-duplicate"),
    "names differ in extension": fault(lambda f: _equal_photo_beside(f, "a.png"), "name-near-duplicate"),
    "name of a copy": fault(lambda f: _equal_photo_beside(f, "a (1).png"), "name-near-duplicate"),
    # Files
    "photo missing": fault(lambda f: f.photo().unlink(), "photo-missing"),
    "photo name in another form": fault(
        lambda f: [_rename_photo(NFD)(f), _image(file_name="ä.jpg")(f)], "photo-missing", "photo-unlisted"
    ),
    "photo of 0 bytes": fault(lambda f: f.photo().write_bytes(b""), "photo-empty"),
    "photo cut off": fault(lambda f: _cut(f.photo()), "photo-unreadable"),
    "photo is text": fault(lambda f: f.photo().write_text("404 not found"), "photo-unreadable"),
    "photo is a folder": fault(lambda f: [f.photo().unlink(), f.photo().mkdir()], "photo-missing"),
    "photo unlisted": fault(
        lambda f: (f.root / "train" / "extra.jpg").write_bytes(b"x"), "photo-unlisted", mechanical=True
    ),
    "png missing": fault(lambda f: f.png().unlink(), "png-missing"),
    "png of 0 bytes": fault(lambda f: f.png().write_bytes(b""), "png-empty"),
    "png cut off": fault(lambda f: _cut(f.png()), "png-unreadable"),
    "png is a jpeg": fault(_label(_jpeg_label), "png-not-png"),
    "png unlisted": fault(lambda f: (f.png().parent / "extra.png").write_bytes(b"x"), "png-unlisted", mechanical=True),
    # Photos
    "photo of another size": fault(
        _photo(lambda p, path: p.resize((WIDTH // 2, HEIGHT // 2)).save(path)), "photo-size"
    ),
    "json of another size": fault(_image(height=HEIGHT + 1), "image-size", mechanical=True),
    "json height and width swapped": fault(_image(height=WIDTH, width=HEIGHT), "image-size", mechanical=True),
    "photo to be turned, label too": fault(_photo(_exif(6, turn=90), "a.jpg"), "photo-exif", mechanical=True),
    "photo upside down": fault(_photo(_exif(3), "a.jpg"), "photo-exif-ambiguous", mechanical=True),
    "photo to be turned, label not": fault(_photo(_exif(8), "a.jpg"), "photo-exif", mechanical=True),
    "photo with damaged exif": fault(_photo(_damaged_exif, "a.jpg"), "photo-exif-damaged", mechanical=True),
    "photo transparent": fault(_photo(lambda p, path: _with_alpha(p, 100).save(path)), "photo-transparent"),
    "photo with opaque alpha": fault(
        _photo(lambda p, path: _with_alpha(p, 255).save(path)), "photo-alpha", mechanical=True
    ),
    "photo cmyk": fault(_photo(lambda p, path: p.convert("CMYK").save(path), "a.jpg"), "photo-cmyk", mechanical=True),
    "photo 16 bit": fault(
        _photo(lambda p, path: Image.fromarray(np.asarray(p.convert("L")).astype(np.uint16) * 257).save(path)),
        "photo-mode",
    ),
    "photo 16 bit rgb": fault(
        lambda f: f.photo(image_id=2).write_bytes(
            cv2.imencode(".png", np.random.default_rng(2).integers(0, 2**16, (HEIGHT, WIDTH, 3), np.uint16))[1]
        ),
        "photo-mode",
    ),
    "photo grey": fault(_photo(lambda p, path: p.convert("L").save(path)), "photo-grey", mechanical=True),
    "photo grey jpeg": fault(_photo(lambda p, path: p.convert("L").save(path), "a.jpg"), "photo-grey", mechanical=True),
    "photo with palette": fault(_photo(lambda p, path: p.quantize(64).save(path)), "photo-palette", mechanical=True),
    "photo of two frames": fault(
        _photo(lambda p, path: p.save(path, save_all=True, append_images=[p.rotate(180)])), "photo-frames"
    ),
    "photo under another suffix": fault(_photo(lambda p, path: p.save(path, "PNG"), "a.jpg"), "photo-suffix"),
    "photo of one colour": fault(_photo(lambda p, path: Image.new("RGB", p.size, (9, 9, 9)).save(path)), "photo-blank"),
    "photo twice in a split": fault(
        lambda f: [_photo(lambda p, path: p.save(path, "PNG"), "a.jpg")(f), _copy(f, "train")],
        "photo-duplicate",
        "photo-suffix",
    ),
    "photo in two splits": fault(lambda f: _copy(f, "val"), "photo-in-two-splits"),
    # PNGs
    "png of another size": fault(
        _label(lambda rgb, path: Image.fromarray(np.pad(rgb, ((1, 0), (0, 0), (0, 0)))).save(path)),
        "png-size",
        "segment-box",
    ),
    "png grey": fault(
        _in_few_colours(lambda ids, path: Image.fromarray(ids.astype(np.uint8)).save(path)), "png-grey", mechanical=True
    ),
    "png grey of 16 bits": fault(
        _png_with((clean_ids() % 60_000).astype(np.uint16)),
        "png-grey",
        "png-16-bit",
        "png-id-unlisted",
        "png-id-missing",
    ),
    "png 16 bit rgb": fault(_png_with(RGB16), "png-16-bit", mechanical=True),
    "png 16 bit rgb, high bytes": fault(_png_with(RGB16 * 256), "png-16-bit", mechanical=True),
    "png palette, ids as colours": fault(_label(_palette_colour), "png-palette", mechanical=True),
    "png palette, ids as indices": fault(_in_few_colours(_palette_index), "png-palette", mechanical=True),
    "png with alpha": fault(
        _label(lambda rgb, path: Image.fromarray(np.dstack([rgb, np.full((HEIGHT, WIDTH), 255, np.uint8)])).save(path)),
        "png-alpha",
        mechanical=True,
    ),
    "png red and blue swapped": fault(
        _label(lambda rgb, path: Image.fromarray(np.ascontiguousarray(rgb[..., ::-1])).save(path)),
        "png-bgr",
        mechanical=True,
    ),
    "png holds an unlisted id": fault(
        _painted(_set(np.s_[1:3, 0:4], 5_000), recount=True), "png-id-unlisted", mechanical=True
    ),
    "png enlarged with interpolation": fault(
        _label(
            lambda rgb, path: (
                Image.fromarray(rgb).resize((16, 12)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(path)
            )
        ),
        "png-id-unlisted",
        "png-id-missing",
        "segment-area",
        "segment-box",
    ),
    "png lacks a segment": fault(
        _painted(lambda ids: ids.__setitem__(ids == 300, 7), recount=False),
        "png-id-missing",
        "segment-area",
        "segment-box",
        mechanical=True,
    ),
    "png of another image": fault(
        _painted(lambda ids: ids.__iadd__((ids > 0) * 1_000_000), recount=False),
        "png-id-unlisted",
        "png-id-missing",
        "image-no-segments",
    ),
    # Segments
    "segment id text": fault(_segment(300, id="300"), "segment-field", "png-id-unlisted"),
    "segment category null": fault(_segment(300, category_id=None), "segment-field", "png-id-unlisted"),
    "segment row a list": fault(
        lambda f: f.edit(lambda d: d["annotations"][0]["segments_info"].append([1])), "segment-field"
    ),
    "iscrowd 2": fault(_segment(300, iscrowd=2), "segment-field"),
    "segment id 0": fault(
        lambda f: [_segment(300, id=0)(f), f.paint(np.where(clean_ids() == 300, 0, clean_ids()), recount=False)],
        "segment-id-zero",
    ),
    "segment id 2**24": fault(_segment(300, id=2**24), "segment-id-range", "png-id-unlisted"),
    "segment id negative": fault(_segment(300, id=-300), "segment-id-range", "png-id-unlisted"),
    "segment id twice, equal": fault(
        lambda f: f.edit(lambda d: (s := d["annotations"][0]["segments_info"]).append(s[0])),
        "segment-id-duplicate",
        mechanical=True,
    ),
    "segment id twice, different": fault(
        lambda f: f.edit(lambda d: (s := d["annotations"][0]["segments_info"]).append({**s[0], "category_id": PERSON})),
        "segment-id-duplicate",
    ),
    "segment category unknown": fault(_segment(300, category_id=5), "segment-category-unknown"),
    "segment without area": fault(_segment(300, area=...), "segment-area-absent", mechanical=True),
    "segment area 0": fault(_segment(300, area=0), "segment-area-zero", mechanical=True),
    "segment area negative": fault(_segment(300, area=-12), "segment-area-zero", mechanical=True),
    "segment area off by one": fault(_segment(300, area=13), "segment-area", mechanical=True),
    "segment area text": fault(_segment(300, area="12"), "segment-area-zero", mechanical=True),
    "segment area beyond floats": fault(_segment(300, area=10**400), "segment-area-zero", mechanical=True),
    "segment without bbox": fault(_segment(300, bbox=...), "segment-box-absent", mechanical=True),
    "bbox of three": fault(_segment(300, bbox=[1, 2, 3]), "segment-box-malformed", mechanical=True),
    "bbox nan": fault(
        _segment(300, bbox=[1, 2, 3, float("nan")]), "segment-box-malformed", "json-nan", mechanical=True
    ),
    "bbox of width 0": fault(_segment(300, bbox=[15, 8, 0, 6]), "segment-box-malformed", mechanical=True),
    "bbox negative": fault(_segment(300, bbox=[-1, 8, 2, 6]), "segment-box-outside", mechanical=True),
    "bbox beyond the image": fault(_segment(300, bbox=[15, 8, 18, 6]), "segment-box-outside", mechanical=True),
    "bbox one pixel wide of it": fault(_segment(300, bbox=[15, 8, 3, 6]), "segment-box", mechanical=True),
    "bbox of two corners": fault(_segment(300, bbox=[15, 8, 17, 14]), "segment-box", mechanical=True),
    "segment tiny": fault(
        _painted(lambda ids: [ids.__setitem__(ids == 300, 7), _set(np.s_[8:11, 15:18], 300)(ids)], recount=True),
        "segment-tiny",
    ),
    "two things under one id": fault(_painted(_scatter, recount=True), "segment-scattered"),
    "thing of many specks": fault(_painted(_specks, recount=True), "segment-specks"),
    "stuff in two segments": fault(_segment(9, category_id=ROAD), "stuff-several-segments", mechanical=True),
    "crowd of stuff": fault(_segment(9, iscrowd=1), "stuff-crowd"),
    # Whole images
    "image of void": fault(
        lambda f: [Image.fromarray(to_rgb(clean_ids() * 0)).save(f.png()), _annotation(segments_info=[])(f)],
        "image-no-segments",
    ),
    "image mostly void": fault(_painted(_mostly_void, recount=True), "image-mostly-void"),
}
"""By what was done to the folder."""


def _with_alpha(picture: Image.Image, alpha: int) -> Image.Image:
    picture = picture.convert("RGBA")
    picture.putalpha(alpha)
    return picture
