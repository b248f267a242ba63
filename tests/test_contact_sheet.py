"""Contact sheets: which photos, and that their labels are drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeseg.contact_sheet import PER_SHEET, show_dataset
from edgeseg.data.sets import Dataset
from edgeseg.structures import Category, InputError, Sample, Segment

ROAD, CAR = Category(1, "road", False, (0, 200, 0)), Category(2, "car", True, (250, 0, 0))


class Photos:
    """Grey photos of road; every third shows a car in its middle."""

    categories = (ROAD, CAR, Category(3, "sky", False, (0, 0, 250)))

    def __init__(self, length: int = 30, size: tuple[int, int] = (60, 80)) -> None:
        self.length, self.size = length, size

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        height, width = self.size
        label = np.full(self.size, 5, dtype=np.int32)
        segments = [Segment(5, 1, height * width, (0, 0, width, height))]
        if index % 3 == 0:
            label[height // 4 : -height // 4, width // 4 : -width // 4] = 9
            segments.append(Segment(9, 2, int((label == 9).sum()), (0, 0, 1, 1)))
        image = np.full((height, width, 3), 128, dtype=np.uint8)
        return Sample(index, f"folder/{index}.jpg", image, label, tuple(segments))


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.mode == "RGB"
        return np.asarray(picture).astype(int)


def test_a_png_shows_every_photo_with_its_label_and_a_legend(tmp_path: Path) -> None:
    result = show_dataset(Photos(3), tmp_path / "some" / "sheet.png", num=12)
    assert result["sheets"] == [str(tmp_path / "some" / "sheet.png")]
    assert sorted(result["images"]) == ["folder/0.jpg", "folder/1.jpg", "folder/2.jpg"]
    sheet = pixels(result["sheets"][0])
    green = (sheet[..., 1] > sheet[..., 0] + 50) & (sheet[..., 1] > sheet[..., 2] + 50)
    red = (sheet[..., 0] > sheet[..., 1] + 50) & (sheet[..., 0] > sheet[..., 2] + 50)
    area = 512 * 683  # of a photo of 4:3
    assert 2.5 < green.sum() / area < 3  # three photos, a quarter of one is the car
    assert 0.2 < red.sum() / area < 0.3
    blue = (sheet[..., 2] > sheet[..., 0] + 50) & (sheet[..., 2] > sheet[..., 1] + 50)
    assert not blue.any()  # the legend lists what is there


def test_a_folder_gets_sheets_of_twelve(tmp_path: Path) -> None:
    result = show_dataset(Photos(), tmp_path / "sheets", num=PER_SHEET + 1)
    assert [Path(sheet).name for sheet in result["sheets"]] == ["sheet-01.png", "sheet-02.png"]
    assert pixels(result["sheets"][0]).shape[0] > pixels(result["sheets"][1]).shape[0]
    assert len(set(result["images"])) == PER_SHEET + 1


def test_only_photos_of_a_category_are_chosen(tmp_path: Path) -> None:
    result = show_dataset(Photos(), tmp_path / "cars.png", num=20, category="car")
    assert sorted(int(Path(name).stem) for name in result["images"]) == list(range(0, 30, 3))


def test_the_seed_chooses(tmp_path: Path) -> None:
    chosen = [show_dataset(Photos(), tmp_path / f"{i}.png", num=4, seed=i % 2)["images"] for i in range(4)]
    assert chosen[0] == chosen[2] != chosen[1] == chosen[3]
    assert np.array_equal(pixels(tmp_path / "0.png"), pixels(tmp_path / "2.png"))


@pytest.mark.parametrize("size", [(2000, 30), (30, 2000), (1, 1), (1200, 1600)])
def test_photos_of_any_shape_fit(size: tuple[int, int], tmp_path: Path) -> None:
    show_dataset(Photos(2, size), tmp_path / "sheet.png")
    assert pixels(tmp_path / "sheet.png").shape[0] > 512


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"category": "caar"}, "--category 'caar' is none .did you mean 'car'"),
        ({"category": "sky"}, "none of 30 photos shows 'sky'"),
        ({"num": 0}, "at least 1 photo"),
    ],
)
def test_what_cannot_be_shown_is_refused(more: dict[str, object], message: str, tmp_path: Path) -> None:
    dataset: Dataset = Photos()
    with pytest.raises(InputError, match=message):
        show_dataset(dataset, tmp_path / "out", **more)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_files_in_use_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("mine")
    for out in (tmp_path / "a.png", tmp_path):
        with pytest.raises(InputError, match="exists"):
            show_dataset(Photos(), out)
    assert (tmp_path / "a.png").read_text() == "mine"
