"""The faults the data doctor knows: one code, one rule, one next step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Severity = Literal["error", "warning"]

TINY_PIXELS = 10
"""A segment of fewer pixels is called tiny."""

VOID_SHARE = 0.5
"""An image with a larger share of void pixels is called mostly void."""

RARE_RATIO = 1000
"""A category with so many times fewer training segments than the commonest is called rare."""


@dataclass(frozen=True)
class Rule:
    """What a code stands for.

    Attributes:
        severity: "error": a reader refuses it or computes a wrong number; "warning": read, but seldom meant.
        says: The rule that is broken.
        next_step: What to do about it.
        fix: What `--fix` does about it; empty where nothing mechanical helps.
    """

    severity: Severity
    says: str
    next_step: str
    fix: str = ""


class Finding(NamedTuple):
    """One fault at one place.

    Attributes:
        code: Key of `RULES`.
        split: Name of the split; empty where the fault lies between splits.
        file: Path relative to the data folder.
        value: What stands there.
        image_id: Of the image it belongs to, if any.
        segment: Id of the segment it belongs to, if any.
        weight: How bad it is among its code's findings; larger is shown first.
    """

    code: str
    split: str
    file: str
    value: str
    image_id: int | str | None = None
    segment: int | None = None
    weight: float = 0.0


def shown(value: object, limit: int = 80) -> str:
    """A value from somebody's file as text that every terminal and every JSON can hold."""
    text = value if isinstance(value, str) else repr(value)
    text = text.encode("utf-8", "backslashreplace").decode()
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _error(says: str, next_step: str, fix: str = "") -> Rule:
    return Rule("error", says, next_step, fix)


def _warning(says: str, next_step: str, fix: str = "") -> Rule:
    return Rule("warning", says, next_step, fix)


_RECOUNT = "recounted from the PNG"
_TO_RGB = "photo rewritten as 8-bit RGB"
_TO_RGB_PNG = "PNG rewritten as 8-bit RGB where its ids are then the JSON's"

RULES: dict[str, Rule] = {
    # JSON file
    "json-unreadable": _error("the panoptic JSON is whole and valid JSON", "export or download it again"),
    "json-nan": _error(
        "JSON has no NaN and no Infinity", "write null or a number", "gone where it stood in an area or a bbox"
    ),
    "json-not-panoptic": _error(
        "annotations have 'segments_info'; those with 'segmentation' are COCO's instances",
        'give the panoptic JSON, or make one with "edgeseg data convert"',
    ),
    "json-key-missing": _error("the JSON has the lists images, annotations, categories", "export it again"),
    "json-empty": _error("the JSON lists at least one image", "remove the split or export it again"),
    "split-ambiguous": _error("a split has one name, train or train2017 (val or val2017)", "remove one of the two"),
    "split-folder-missing": _error("SPLIT/ and annotations/panoptic_SPLIT/ exist", "restore the folder"),
    "split-json-missing": _error(
        "annotations/panoptic_SPLIT/ has its annotations/panoptic_SPLIT.json", "restore the JSON or remove the folder"
    ),
    # Categories
    "category-field": _error("a category has an integer id, a name, isthing 0 or 1", "correct the entry"),
    "category-color": _error(
        "a category's color is three integers 0..255", "correct or drop it", "dropped, a colour is derived from the id"
    ),
    "category-duplicate": _error(
        "category ids are unique", "drop one or renumber it", "of equal entries the first is kept"
    ),
    "category-name-duplicate": _warning("category names are unique", "rename one; reports cannot tell them apart"),
    "category-color-duplicate": _warning(
        "categories differ in colour", "give one another colour", "dropped, a colour is derived from the id"
    ),
    "categories-differ": _error("all splits have the same categories", "use one category list for all splits"),
    "category-unused": _warning("every category has a segment somewhere", "label it or drop it"),
    "category-not-in-train": _error(
        "a category with segments in val has some in train", "split again, or drop the category from val"
    ),
    "category-not-in-val": _warning(
        "a category with segments in train has some in val", "split again; its quality is not measured"
    ),
    "category-rare": _warning(
        f"no category has {RARE_RATIO} times fewer training segments than the commonest",
        "add images of it, weight it, or merge it",
    ),
    # Entries of images and annotations
    "image-field": _error("an image has an id (integer or text), file_name, height, width > 0", "correct the entry"),
    "image-id-duplicate": _error("image ids are unique", "renumber one", "of equal entries the first is kept"),
    "image-file-duplicate": _error("each image has a file of its own", "drop one of the entries"),
    "image-without-annotation": _error("each image has an annotation", "annotate it or drop the entry"),
    "annotation-field": _error("an annotation has image_id, file_name and a list segments_info", "correct the entry"),
    "annotation-duplicate": _error("an image has one annotation", "drop one", "of equal entries the first is kept"),
    "annotation-without-image": _error(
        "an annotation's image_id is in images", "add the image or drop the annotation", "dropped"
    ),
    "png-shared": _error("each annotation has a PNG of its own", "export the labels again"),
    "name-unsafe": _error(
        "a file name is relative and stays inside its split's folder; it was not opened", "correct the name"
    ),
    "name-near-duplicate": _warning(
        "file names differ by more than case, extension or a copy's mark", "look whether it is the same image"
    ),
    # Files
    "photo-missing": _error("every photo that the JSON lists exists", "restore the file or drop the entry"),
    "photo-empty": _error("a photo has bytes", "restore the file"),
    "photo-unreadable": _error("a photo can be decoded to its end", "restore or export the file again"),
    "photo-unlisted": _warning("every file in SPLIT/ is listed in the JSON", "list it or remove it", "not copied"),
    "png-missing": _error("every PNG that the JSON lists exists", "restore the file or drop the entry"),
    "png-empty": _error("a PNG has bytes", "restore the file"),
    "png-unreadable": _error("a PNG can be decoded to its end", "restore or export the file again"),
    "png-not-png": _error("labels are stored as PNG; lossy formats change ids", "export the label as PNG"),
    "png-unlisted": _warning(
        "every file in annotations/panoptic_SPLIT/ is listed in the JSON", "list it or remove it", "not copied"
    ),
    # Photos
    "image-size": _error("the JSON's height and width are those of photo and PNG", "correct them", "corrected"),
    "photo-size": _error("photo, PNG and JSON have one size", "export photo and label at the same size"),
    "photo-exif": _warning(
        "a photo has no EXIF orientation: readers disagree whether to follow it; here sizes tell how the label fits",
        "store the pixels as the label has them",
        "photo rewritten as the label has it, without the tag",
    ),
    "photo-exif-ambiguous": _warning(
        "a photo has no EXIF orientation; here the label fits stored and turned pixels alike, and edgeseg turns them",
        "look at the overlay; store the pixels as the label has them",
        "photo rewritten turned, as edgeseg reads it, without the tag",
    ),
    "photo-exif-damaged": _error(
        "EXIF data can be read", "save the photo without", "photo rewritten without, pixels as stored"
    ),
    "photo-transparent": _error("a photo is opaque", "flatten it onto a background"),
    "photo-alpha": _warning("a photo has no alpha channel", "store it as RGB", _TO_RGB),
    "photo-cmyk": _error("a photo is RGB", "convert it", _TO_RGB),
    "photo-mode": _error("a photo is 8-bit RGB or grey", "convert it; choose the scaling of its values"),
    "photo-grey": _warning("a photo has three channels", "fine if meant; it is widened to RGB", _TO_RGB),
    "photo-palette": _warning("a photo has three channels, no palette", "fine if meant", _TO_RGB),
    "photo-frames": _warning("a photo has one frame; only the first is read", "store the frame that is meant"),
    "photo-suffix": _warning("a file's extension names its format", "rename it"),
    "photo-blank": _warning("a photo has more than one colour", "look at it; its export may have failed"),
    "photo-duplicate": _warning("a split has each image once (pixels compared)", "drop one"),
    "photo-in-two-splits": _error(
        "no image is in two splits (pixels compared); the score would be flattered", "drop it from one of them"
    ),
    # Panoptic PNGs
    "png-size": _error("photo, PNG and JSON have one size", "export the label at the photo's size"),
    "png-grey": _error("ids are stored as 8-bit RGB, not grey", "export it again", _TO_RGB_PNG),
    "png-palette": _error("ids are stored as 8-bit RGB, not in a palette", "export it again", _TO_RGB_PNG),
    "png-alpha": _error("ids are stored as 8-bit RGB, no alpha channel", "export it again", _TO_RGB_PNG),
    "png-16-bit": _error("ids are stored with 8 bits a channel, not 16", "export it again", _TO_RGB_PNG),
    "png-bgr": _error(
        "the id is R + 256 G + 65536 B; here red and blue are swapped (OpenCV writes BGR)",
        "swap the channels before writing",
        "channels swapped",
    ),
    "png-id-unlisted": _error(
        "every id in the PNG but 0 is in segments_info", "list it or paint it 0 (void)", "its pixels become void"
    ),
    "png-id-missing": _error("every segment of the JSON has pixels in the PNG", "drop the row", "row dropped"),
    # Segments
    "segment-field": _error("a segment has integer id and category_id, iscrowd 0 or 1", "correct the row"),
    "segment-id-zero": _error("segment ids start at 1; 0 is void", "give it another id, in the PNG too"),
    "segment-id-range": _error("segment ids lie in 1 .. 2**24 - 1, what three bytes hold", "renumber it"),
    "segment-id-duplicate": _error(
        "segment ids are unique within an image", "renumber one", "of equal rows the first is kept"
    ),
    "segment-category-unknown": _error("a segment's category_id is in categories", "add it or correct the row"),
    "segment-area-absent": _warning("a segment has an area", "count it from the PNG", _RECOUNT),
    "segment-area-zero": _error("a segment's area is above 0", "count it from the PNG", _RECOUNT),
    "segment-area": _error("a segment's area is its number of pixels", "count it from the PNG", _RECOUNT),
    "segment-box-absent": _warning("a segment has a bbox", "take it from the PNG", _RECOUNT),
    "segment-box-malformed": _error(
        "bbox is four finite numbers x, y, width, height, the last two above 0", "take it from the PNG", _RECOUNT
    ),
    "segment-box-outside": _error("bbox lies inside the image", "take it from the PNG", _RECOUNT),
    "segment-box": _error("bbox is the tightest box around the segment's pixels", "take it from the PNG", _RECOUNT),
    "segment-tiny": _warning(f"a segment has at least {TINY_PIXELS} pixels", "paint it void or enlarge the photo"),
    "segment-scattered": _warning(
        "a thing's parts lie closer together than they are large", "look whether two things share one id"
    ),
    "segment-specks": _warning(
        "a thing has fewer than 10 parts of a few pixels", "clean the mask; it may have been resized or compressed"
    ),
    "stuff-several-segments": _warning(
        "stuff has one segment per image and category", "merge them", "merged into the first of them"
    ),
    "stuff-crowd": _warning("iscrowd marks things nobody told apart; stuff needs none", "set iscrowd to 0"),
    # Whole images
    "image-no-segments": _warning("an image has at least one segment", "fine if meant: it teaches nothing but void"),
    "image-mostly-void": _warning(f"at most {VOID_SHARE:.0%} of an image is void", "label more, or crop the image"),
}
"""By code, in the order of reports. Codes are stable: machines may rely on them."""
