"""STQ and VPQ: by hand, against their definitions, over parts and processes, from the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from edgeseg.cli import main
from edgeseg.metrics.folder import PredictedFolder
from edgeseg.metrics.sequences import evaluate_sequences
from edgeseg.metrics.stq import SegmentationTrackingQuality
from edgeseg.metrics.tubes import Tubes
from edgeseg.metrics.vpq import VideoPanopticQuality
from edgeseg.structures import InputError
from tests.metrics.scenes import CAR, CATEGORIES, DOG, ROAD, Scene, line, table

THINGS = [category.id for category in CATEGORIES if category.is_thing]


@dataclass(frozen=True)
class Video:
    """Maps (frames, H, W) with one table for all frames: category by id, and which true ids are crowds."""

    gt: NDArray[np.int32]
    gt_category: Mapping[int, int]
    crowds: Sequence[int]
    pred: NDArray[np.int32]
    pred_category: Mapping[int, int]

    def tubes(self) -> list[Tubes]:
        """Its frames, each with the rows that it shows."""
        frames = []
        for gt, pred in zip(self.gt, self.pred, strict=True):
            gt_table = table({i: self.gt_category[i] for i in np.unique(gt).tolist() if i}, self.crowds)
            pred_table = table({i: self.pred_category[i] for i in np.unique(pred).tolist() if i})
            frames.append(Tubes.of_frame(Scene(gt, gt_table, pred, pred_table).pair()))
        return frames


def video(gt: Sequence[int], gt_category: dict[int, int], pred: Sequence[int], pred_category: dict[int, int]) -> Video:
    """One pixel a frame; a negative true id is a crowd's."""
    crowds = [-id_ for id_ in gt if id_ < 0]
    return Video(np.abs(column(gt)), gt_category, crowds, column(pred), pred_category)


def column(ids: Sequence[int]) -> NDArray[np.int32]:
    return np.array(ids, dtype=np.int32).reshape(-1, 1, 1)


def stq(*videos: Video) -> dict[str, Any]:
    metric = SegmentationTrackingQuality(CATEGORIES)
    for name, one in enumerate(videos):
        for frame in one.tubes():
            metric.add(str(name), frame)
    return metric.compute().to_dict()


def vpq(windows: Sequence[int], *videos: Video) -> dict[str, Any]:
    metric = VideoPanopticQuality(CATEGORIES, windows)
    for name, one in enumerate(videos):
        for frame in one.tubes():
            metric.add(str(name), frame)
    return metric.compute().to_dict()


ONE_CAR = [1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("pred", "aq"),
    [
        ([1, 1, 1, 1, 1], 1.0),
        ([1, 1, 2, 2, 2], (2 * 2 / 5 + 3 * 3 / 5) / 5),
        ([1, 2, 1, 2, 2], (2 * 2 / 5 + 3 * 3 / 5) / 5),
        ([1, 2, 2, 2, 2], (1 * 1 / 5 + 4 * 4 / 5) / 5),
        ([1, 2, 3, 4, 5], 5 * (1 * 1 / 5) / 5),
    ],
)
def test_a_split_track_keeps_the_squares_of_its_parts(pred: list[int], aq: float) -> None:
    """The paper's examples (STEP, figure 3): 1, 0.52, 0.52, 0.68 and 0.2."""
    result = stq(video(ONE_CAR, {1: CAR.id}, pred, dict.fromkeys(range(1, 6), CAR.id)))
    assert (result["aq"], result["sq"]) == pytest.approx((aq, 1.0))
    assert result["stq"] == pytest.approx(aq**0.5)
    assert (result["num_tracks"], result["num_frames"]) == (1, 5)


def test_tracks_are_associated_whatever_their_categories() -> None:
    result = stq(video(ONE_CAR, {1: CAR.id}, [9, 9, 9, 9, 9], {9: DOG.id}))
    assert (result["aq"], result["sq"], result["stq"]) == (1.0, 0.0, 0.0)


def test_a_track_that_goes_on_over_stuff_and_void_is_larger() -> None:
    gt = video([0, 2, 1, 1, 1, 1], {1: CAR.id, 2: ROAD.id}, [7, 7, 7, 7, 7, 7], {7: CAR.id})
    result = stq(gt)
    assert result["aq"] == pytest.approx((4 * 4 / 6) / 4)
    assert result["sq"] == pytest.approx((4 / 5 + 0) / 2)  # of the car 4 of 5, void left out; of the road none


def test_predicted_pixels_on_a_crowd_do_not_count() -> None:
    result = stq(video([-2, 1, 1, 1, 1, 1], {1: CAR.id, 2: CAR.id}, [8, 8, 8, 8, 9, 9], {8: CAR.id, 9: CAR.id}))
    assert result["aq"] == pytest.approx((3 * 3 / 5 + 2 * 2 / 5) / 5)
    assert (result["sq"], result["num_tracks"]) == (1.0, 1)


def test_void_in_the_prediction_is_one_more_category_as_in_deeplab2() -> None:
    result = stq(video([1, 1, 1, 1], {1: ROAD.id}, [7, 7, 7, 0], {7: ROAD.id}))
    assert result["sq"] == pytest.approx((3 / 4 + 0) / 2)


def test_nothing_to_track_scores_zero_not_a_division_by_zero() -> None:
    nothing = stq(video([0, 0], {}, [0, 0], {}))
    assert {key: nothing[key] for key in ("stq", "aq", "sq", "num_tracks")} == dict.fromkeys(
        ("stq", "aq", "sq", "num_tracks"), 0
    )


def test_sequences_are_weighed_by_their_tracks_and_pixels() -> None:
    perfect = video([1, 1, 2], {1: CAR.id, 2: CAR.id}, [1, 1, 2], {1: CAR.id, 2: CAR.id})
    missed = video([1], {1: CAR.id}, [1], {1: ROAD.id})
    result = stq(perfect, missed)
    assert (result["aq"], result["sq"]) == pytest.approx((2 / 3, (3 / 4 + 0) / 2))
    assert (result["per_sequence"]["0"]["stq"], result["per_sequence"]["1"]["stq"]) == (1.0, 0.0)


def test_a_tube_is_found_where_a_frame_alone_is_missed() -> None:
    """Frames: of 4 car pixels 1 found, then all 4; as one tube 5 of 8."""
    gt, pred = np.stack([line((1, 4), (0, 1))] * 2), np.stack([line((1, 1), (2, 4)), line((1, 4), (2, 1))])
    pair = Video(gt, {1: CAR.id}, [], pred, {1: CAR.id, 2: ROAD.id})
    result = vpq([1, 2], pair)
    assert result["per_window"]["1"]["things"]["pq"] == pytest.approx(1 / 2)  # 1 found, 1 missed, 1 false
    assert result["per_window"]["2"]["things"]["pq"] == pytest.approx(5 / 8)
    assert result["things"] == pytest.approx((1 / 2 + 5 / 8) / 2)
    assert result["vpq"] == pytest.approx(np.mean([result["per_window"][k]["all"]["pq"] for k in "12"]))


def test_a_changed_id_breaks_long_tubes_only() -> None:
    result = vpq([1, 2], video([1, 1, 1, 1], {1: CAR.id}, [1, 1, 2, 2], {1: CAR.id, 2: CAR.id}))
    assert result["per_window"]["1"]["all"]["pq"] == 1.0
    # Windows: found whole, half found and half false (IoU is no more than 0.5), found whole.
    assert result["per_window"]["2"]["all"]["pq"] == pytest.approx(2 / (2 + 2 / 2 + 1 / 2))


def test_windows_do_not_span_sequences_and_short_sequences_have_none() -> None:
    same = {1: CAR.id}
    videos = video([1, 1, 1], same, [1, 1, 1], same), video([1], same, [1], same)
    metric = VideoPanopticQuality(CATEGORIES, (1, 2))
    for name, one in enumerate(videos):
        for frame in one.tubes():
            metric.add(str(name), frame)
    tp = {k: result.per_category[0].tp for k, result in metric.compute().per_window.items()}
    assert tp == {1: 4, 2: 2}
    with pytest.raises(InputError, match=r"no sequence has 5 consecutive frames.*--vpq-windows"):
        vpq([5], *videos)


@pytest.mark.parametrize("windows", [(), (0, 1), (2, 2)])
def test_windows_that_mean_nothing_are_refused(windows: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="different lengths of at least 1"):
        VideoPanopticQuality(CATEGORIES, windows)


@st.composite
def videos(draw: st.DrawFn) -> Video:
    """Random sequences with void, crowds, and predictions that partly agree."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(4, 6)), 4, 5
    num_ids = draw(st.integers(0, 4))
    gt = rng.integers(0, num_ids + 1, shape)
    pred = np.where(rng.random(shape) < draw(st.sampled_from([0.3, 0.8, 1.0])), gt, rng.integers(0, num_ids + 1, shape))
    names = draw(st.lists(st.sampled_from([3, 8, 21]), min_size=5, max_size=5))
    others = draw(st.lists(st.sampled_from([3, 8, 21]), min_size=5, max_size=5))
    gt_category, crowds = dict(enumerate(names)), sorted(draw(st.sets(st.integers(1, 4), max_size=2)))
    pred_category = {300 * i: (names if rng.random() < 0.7 else others)[i] for i in range(5)}
    return Video(gt.astype(np.int32), gt_category, crowds, 300 * pred.astype(np.int32), pred_category)


@settings(max_examples=60, deadline=None)
@given(st.lists(videos(), min_size=1, max_size=3))
def test_stq_equals_its_definition(sequences: list[Video]) -> None:
    association, num_tracks, labels, guesses = 0.0, 0, [], []
    for one in sequences:
        crowd = np.isin(one.gt, [i for i in one.crowds if one.gt_category[i] in THINGS])
        for track in np.unique(one.gt[one.gt > 0]):
            if one.gt_category[track] not in THINGS or track in one.crowds:
                continue
            num_tracks += 1
            truth = one.gt == track
            for guess in np.unique(one.pred[one.pred > 0]):
                if one.pred_category[guess] in THINGS:
                    guessed = (one.pred == guess) & ~crowd
                    both = (truth & guessed).sum()
                    association += both * (both / (truth | guessed).sum()) / truth.sum()
        labels.append(np.vectorize(lambda i, one=one: one.gt_category[i] if i else 0)(one.gt).ravel())
        guesses.append(np.vectorize(lambda i, one=one: one.pred_category[i] if i else 0)(one.pred).ravel())
    label, guess = np.concatenate(labels), np.concatenate(guesses)
    label, guess = label[label != 0], guess[label != 0]
    ious = [((label == c) & (guess == c)).sum() / ((label == c) | (guess == c)).sum() for c in {*label, *guess} - {0}]
    sq = sum(ious) / max(len(ious) + bool((guess == 0).any()), 1)
    result = stq(*sequences)
    aq = association / max(num_tracks, 1)
    assert (result["aq"], result["sq"], result["stq"]) == pytest.approx((aq, sq, (aq * sq) ** 0.5), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(videos(), st.integers(1, 4))
def test_vpq_equals_panoptic_quality_of_frames_side_by_side(one: Video, window: int) -> None:
    """DeepLab2's way to compute it, with the metric for images."""
    from edgeseg.metrics.panoptic_quality import PanopticQuality

    expected = PanopticQuality(CATEGORIES)
    for start in range(len(one.gt) - window + 1):
        gt, pred = (np.concatenate(list(maps[start : start + window]), axis=1) for maps in (one.gt, one.pred))
        # Rows in the order in which frames bring them: of two crowds of a category the last counts.
        gt_ids = dict.fromkeys(i for frame in one.gt[start : start + window] for i in np.unique(frame).tolist() if i)
        gt_table = table({i: one.gt_category[i] for i in gt_ids}, one.crowds)
        pred_table = table({i: one.pred_category[i] for i in np.unique(pred).tolist() if i})
        expected.update(pred, pred_table, gt, gt_table)
    if not expected.compute().all.n:
        return
    metric = VideoPanopticQuality(CATEGORIES, [window])
    for frame in one.tubes():
        metric.add("", frame)
    assert np.array_equal(metric.quality[window].counts, expected.counts)


@settings(max_examples=20, deadline=None)
@given(st.lists(videos(), min_size=2, max_size=3))
def test_sums_over_parts_add_up_to_the_whole(sequences: list[Video]) -> None:
    whole = SegmentationTrackingQuality(CATEGORIES), VideoPanopticQuality(CATEGORIES, (1, 3))
    parts = [(SegmentationTrackingQuality(CATEGORIES), VideoPanopticQuality(CATEGORIES, (1, 3))) for _ in range(2)]
    for name, one in enumerate(sequences):
        for number, frame in enumerate(one.tubes()):
            for metric in (whole[0], parts[number % 2][0]):  # frames in any part
                metric.add(str(name), frame)
            for windows in (whole[1], parts[name % 2][1]):  # sequences whole
                windows.add(str(name), frame)
    assert (parts[0][0] + parts[1][0]).compute().all == whole[0].compute().all
    together = parts[0][1] + parts[1][1]
    for window, quality in together.quality.items():
        assert quality.counts == pytest.approx(whole[1].quality[window].counts, abs=1e-12)


def test_a_track_has_one_category() -> None:
    metric = SegmentationTrackingQuality(CATEGORIES)
    metric.add("a", video([1], {1: CAR.id}, [7], {7: CAR.id}).tubes()[0])
    metric.add("b", video([1], {1: DOG.id}, [7], {7: DOG.id}).tubes()[0])  # another sequence, other tracks
    with pytest.raises(InputError, match="prediction segment 7 changes its category"):
        metric.add("a", video([1], {1: CAR.id}, [7], {7: DOG.id}).tubes()[0])
    with pytest.raises(InputError, match="ground truth segment 1 changes its category or crowd"):
        metric.add("a", video([-1], {1: CAR.id}, [0], {}).tubes()[0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sequences of 5 and 2 frames, their images in no order; frames count by fives."""
    documents: dict[str, dict[str, Any]] = {"gt": {"images": []}, "pred": {}}
    lengths = {"drive 2": 2, "drive 1": 5}
    frames = [(name, 5 * number) for name, length in lengths.items() for number in reversed(range(length))]
    for side, document in documents.items():
        (tmp_path / side).mkdir()
        document["categories"] = [
            {"id": category.id, "name": category.name, "isthing": int(category.is_thing)} for category in CATEGORIES
        ]
        document["annotations"] = []
        for name, number in frames:
            ids = np.full((4, 6), 2, dtype=np.uint8)
            ids[:2, number // 5 : number // 5 + 2] = 1 if side == "gt" or number < 10 else 9
            png = f"{name}_{number}.png"
            Image.fromarray(np.stack([ids, 0 * ids, 0 * ids], axis=-1)).save(tmp_path / side / png)
            categories = {1: CAR.id, 2: ROAD.id, 9: CAR.id}
            segments = [{"id": i, "category_id": categories[i]} for i in np.unique(ids).tolist()]
            document["annotations"].append({"image_id": png, "file_name": png, "segments_info": segments})
            if side == "gt":
                image = {"id": png, "file_name": png, "height": 4, "width": 6, "sequence": name, "frame": number}
                document["images"].append(image)
        (tmp_path / f"{side}.json").write_text(json.dumps(document))
    return tmp_path


def score(folder: Path, *options: str) -> int:
    return main(["eval", "--pred", f"{folder}/pred.json", "--gt", f"{folder}/gt.json", "--sequences", *options])


def test_command_line_adds_stq_and_vpq(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The car of drive 1 is followed for 2 frames and then takes another id for 3, of 4 pixels each."""
    assert score(folder, "--vpq-windows", "1", "2", "--json", "--quiet") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["all"]["pq"] == 1.0
    assert result["stq"]["per_sequence"]["drive 1"]["aq"] == pytest.approx((8 * 8 / 20 + 12 * 12 / 20) / 20)
    assert result["stq"]["per_sequence"]["drive 2"]["stq"] == 1.0
    assert result["stq"]["aq"] == pytest.approx((0.52 + 1) / 2)
    # Of 5 windows of 2 frames one straddles the change: its tube is missed, and both halves are false.
    assert result["vpq"]["per_window"]["2"]["things"]["pq"] == pytest.approx(4 / (4 + 2 / 2 + 1 / 2))
    assert result["vpq"]["vpq"] == pytest.approx((1 + (4 / 5.5 + 1) / 2) / 2)


def test_table_shows_stq_and_vpq(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score(folder, "--vpq-windows", "1", "2", "--quiet") == 0
    text = capsys.readouterr().out
    assert "STQ 87.2 (AQ 76.0, SQ 100.0) over 2 tracks in 7 frames of 2 sequences" in text
    assert "VPQ 93.2 (things 86.4, stuff 100.0), by window: 1 frame 100.0, 2 frames 86.4" in text


def test_processes_do_not_change_the_result(folder: Path) -> None:
    opened = PredictedFolder.open(folder / "pred.json", folder / "pred", folder / "gt.json", folder / "gt")
    done: list[int] = []
    alone = evaluate_sequences(opened, windows=(1, 2), on_progress=done.append).to_dict()
    assert evaluate_sequences(opened, windows=(1, 2), num_workers=2).to_dict() == alone
    assert sum(done) == 7


FAULTS: dict[str, tuple[str, Callable[[dict[str, Any]], object], str]] = {
    "no sequence": ("gt", lambda d: d["images"][0].pop("sequence"), r"'drive 2_5\.png' .*has no place in a sequence"),
    "frame is text": ("gt", lambda d: d["images"][0].update(frame="5"), r'needs "sequence" \(text\) and "frame"'),
    "frame twice": ("gt", lambda d: d["images"][0].update(frame=0), "are both frame 0 of sequence 'drive 2'"),
    "no images": ("gt", lambda d: d.pop("images"), "has no place in a sequence"),
    "changed category": (
        "pred",
        lambda d: d["annotations"][2]["segments_info"][0].update(category_id=DOG.id),
        r"image 'drive 1_20\.png' of sequence 'drive 1': prediction segment 2 changes its category",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_sequences_that_are_none_are_refused(fault: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    side, break_it, message = FAULTS[fault]
    document = json.loads((folder / f"{side}.json").read_text())
    break_it(document)
    (folder / f"{side}.json").write_text(json.dumps(document))
    assert score(folder, "--quiet", "--vpq-windows", "1") == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1


def test_sequences_go_with_a_prediction(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "somewhere", "--sequences"]) == 2
    assert "--sequences goes with --pred" in capsys.readouterr().err
    assert main(["eval", "--pred", "p.json", "--gt", "g.json", "--vpq-windows", "3"]) == 2
    assert "--vpq-windows goes with --sequences" in capsys.readouterr().err
