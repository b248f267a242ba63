"""The losses against hand computation, brute force and plain loops."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from edgeseg.config import LossConfig
from edgeseg.losses.kmax import KMaxLoss, discriminate, mask_agreement, reclass, remask, slot_labels
from edgeseg.losses.matching import match
from edgeseg.losses.targets import Targets, pad_labels, targets_at
from edgeseg.structures import Batch, Prediction, Slots

N, K, D, SIZE = 6, 4, 8, 8


def some_batch(void: bool = True) -> Batch:
    """Two 32 x 32 images: quarters, and halves with a void corner."""
    label_map = torch.zeros(2, 32, 32, dtype=torch.int16)
    label_map[0, :16, 16:], label_map[0, 16:, :16], label_map[0, 16:, 16:] = 1, 2, 3
    label_map[1, 16:] = 1
    if void:
        label_map[1, 16:, 16:] = -1
    categories = [torch.tensor([0, 1, 2, 2]), torch.tensor([3, 0])]
    return Batch(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), label_map, categories, [1, 2])


def some_prediction(seed: int, *, semantic: bool) -> Prediction:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).requires_grad_()

    slots = Slots(draw(2, N, K + 1), draw(2, N, SIZE, SIZE))
    return Prediction(slots, draw(2, D, SIZE, SIZE), draw(2, K + 1, SIZE, SIZE) if semantic else None)


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(i) for i in range(2)]


def run(predictions: list[Prediction], batch: Batch, **config: object) -> dict[str, torch.Tensor]:
    return KMaxLoss(LossConfig(**config), [True] * K)(predictions, batch, generators())  # type: ignore[no-any-return, arg-type]


def test_targets_take_the_label_under_each_cells_centre() -> None:
    label_map = torch.arange(64).reshape(1, 8, 8)
    targets = targets_at(label_map, torch.zeros(1, 64, dtype=torch.int64), (2, 2))
    assert targets.rows.tolist() == [[18, 22, 50, 54]]  # rows and columns 2 and 6


def test_labels_are_padded_with_minus_one_and_never_empty() -> None:
    padded = pad_labels([torch.tensor([], dtype=torch.int64), torch.tensor([], dtype=torch.int64)])
    assert padded.tolist() == [[-1], [-1]]


def test_matching_is_the_best_of_all_permutations() -> None:
    """Brute force over every assignment of slots to the four segments of the first image."""
    batch, prediction = some_batch(), some_prediction(3, semantic=False)
    labels = pad_labels(batch.categories)
    targets = targets_at(batch.label_map, labels, (SIZE, SIZE))
    slot_of = match(prediction.slots, targets)[0]

    masks = prediction.slots.mask_logits[0].flatten(1).softmax(0)
    probability = prediction.slots.class_logits[0].softmax(1)
    truth = F.one_hot(targets.rows[0], 4).T.float()  # (M, P)

    def score(slots: tuple[int, ...]) -> float:
        total = 0.0
        for segment, slot in enumerate(slots):
            dice = (2 * (masks[slot] * truth[segment]).sum() + 1) / (masks[slot].sum() + truth[segment].sum() + 1)
            total += float(dice * probability[slot, labels[0, segment]])
        return total

    best = max(itertools.permutations(range(N), 4), key=score)
    assert tuple(slot_of.tolist()) == best


def test_matching_leaves_out_segments_without_a_pixel_and_takes_the_best_where_slots_are_few() -> None:
    label_map = torch.zeros(1, 8, 8, dtype=torch.int16)
    label_map[0, 4:] = 1
    label_map[0, 0, 0] = 2  # not under any cell centre of a 2 x 2 grid
    targets = targets_at(label_map, torch.tensor([[0, 1, 1]]), (2, 2))
    masks = torch.zeros(1, 1, 2, 2)
    slots = Slots(torch.tensor([[[0.0, 5.0, 0.0]]]), masks)  # one slot, sure of category 1
    assert match(slots, targets).tolist() == [[-1, 0, -1]]


def test_remask_is_the_published_formula() -> None:
    """m + (sigmoid(p) sigmoid(m_sem)) m with plain loops."""
    generator = torch.Generator().manual_seed(0)
    m, p, s = (torch.randn(*shape, generator=generator) for shape in ((1, 2, 3), (1, 2, 4), (1, 4, 3)))
    for n in range(2):
        for x in range(3):
            gate = sum(float(p[0, n, c].sigmoid() * s[0, c, x].sigmoid()) for c in range(4))
            assert float(remask(m, p, s, "sigmoid")[0, n, x]) == pytest.approx(float(m[0, n, x]) * (1 + gate), rel=1e-5)


def test_remask_sends_no_gradient_into_the_semantic_head_or_the_classes() -> None:
    m = torch.ones(1, 2, 3, requires_grad=True)
    p = torch.ones(1, 2, 4, requires_grad=True)
    s = torch.ones(1, 4, 3, requires_grad=True)
    remask(m, p, s, "softmax").sum().backward()
    assert m.grad is not None
    assert p.grad is None
    assert s.grad is None


def test_reclass_softens_by_the_covered_share_of_each_category() -> None:
    """Two slots with even masks cover half of every category; void stays hard."""
    targets = Targets(
        rows=torch.tensor([[0, 0, 1, -1]]),
        valid=torch.tensor([[True, True, True, False]]),
        labels=torch.tensor([[0, 1]]),
        areas=torch.tensor([[2.0, 1.0]]),
    )
    one_hot = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])  # K = 2 and void
    soft = reclass(one_hot, torch.full((1, 2, 4), 0.5), targets, eta=0.2)
    expected = torch.tensor([[[1.0, 0.1, 0.0], [0.1, 0.1, 1.0]]])  # 0.1 = eta / 2; 0.1 + 0.9 * 1 = 1
    torch.testing.assert_close(soft, expected, atol=1e-5, rtol=0)


def test_dice_counts_only_labelled_pixels_and_the_share_on_void_is_found() -> None:
    probability = torch.tensor([[[1.0, 0.5, 0.0, 1.0], [0.0, 0.5, 1.0, 0.0]]])
    slot_rows = torch.tensor([[0, 0, 1, -1]])
    valid = torch.tensor([[True, True, True, False]])
    dice, void_share = mask_agreement(probability, slot_rows, valid)
    # slot 0: intersection 1.5, mass 1.5, area 2; slot 1: intersection 1, mass 1.5, area 1; smoothing 1
    torch.testing.assert_close(dice, torch.tensor([[4 / 4.5, 3 / 3.5]]))
    torch.testing.assert_close(void_share, torch.tensor([[1 / 2.5, 0.0]]))


def test_unmatched_slots_are_void() -> None:
    labels = slot_labels(torch.tensor([[2, -1, 0]]), torch.tensor([[3, 1, 2]]), num_slots=4, num_categories=9)
    assert labels.tolist() == [[2, 9, 3, 9]]


def test_a_perfect_prediction_costs_next_to_nothing() -> None:
    batch = some_batch(void=False)
    targets = targets_at(batch.label_map, pad_labels(batch.categories), (SIZE, SIZE))
    masks = 40 * F.one_hot(targets.rows, N).permute(0, 2, 1).float().unflatten(2, (SIZE, SIZE))
    classes = torch.zeros(2, N, K + 1)
    classes[..., K] = 40
    for image, rows in enumerate(batch.categories):
        for slot, category in enumerate(rows.tolist()):
            classes[image, slot] = 40 * F.one_hot(torch.tensor(category), K + 1)
    embedding = 1.0 * F.one_hot(targets.rows, D).permute(0, 2, 1).float().unflatten(2, (SIZE, SIZE))
    terms = run([Prediction(Slots(classes, masks), embedding, None)], batch, reclass=False)
    assert float(terms["class"] + terms["dice"] + terms["mask_id"]) < 1e-4


def test_no_term_looks_at_void_pixels() -> None:
    """Other logits, embeddings and semantics under the void corner leave every mask term as it was."""
    batch, prediction = some_batch(), some_prediction(1, semantic=True)
    assert prediction.semantic_logits is not None
    masks, embedding, semantic = (
        t.detach().clone() for t in (prediction.slots.mask_logits, prediction.embedding, prediction.semantic_logits)
    )
    for t in (masks, embedding, semantic):
        t[1, :, 4:, 4:] += torch.randn(t[1, :, 4:, 4:].shape, generator=torch.Generator().manual_seed(9))
    changed = Prediction(Slots(prediction.slots.class_logits, masks), embedding, semantic)
    before, after = (run([p], batch, remask=True, reclass=True) for p in (prediction, changed))
    for name in ("dice", "mask_id", "discrimination", "semantic"):
        torch.testing.assert_close(before[name], after[name])


@pytest.mark.parametrize("relaxed", [False, True])
def test_terms_are_finite_add_up_and_reach_every_input(relaxed: bool) -> None:
    batch = some_batch()
    predictions = [some_prediction(0, semantic=False), some_prediction(1, semantic=True)]
    terms = run(predictions, batch, remask=relaxed, reclass=relaxed)
    parts = sum(float(v) for name, v in terms.items() if name != "total")
    assert float(terms["total"]) == pytest.approx(parts, rel=1e-6)
    terms["total"].backward()
    for prediction in predictions:
        for tensor in (*prediction.slots, prediction.embedding, prediction.semantic_logits):
            assert tensor is None or (tensor.grad is not None and bool(tensor.grad.isfinite().all()))


def test_an_image_of_nothing_but_void_is_survived() -> None:
    batch = some_batch()
    batch.label_map[1] = -1
    terms = run([some_prediction(0, semantic=True)], batch)
    assert math.isfinite(float(terms["total"]))


def test_the_mean_over_two_images_is_the_mean_of_each_alone() -> None:
    """So averaging gradients over processes equals one process with the whole batch."""
    batch, prediction = some_batch(), some_prediction(5, semantic=True)
    whole = run([prediction], batch, remask=True, reclass=True)
    alone = []
    for i in range(2):
        part = Batch(batch.image[i : i + 1], batch.label_map[i : i + 1], [batch.categories[i]], [i])
        assert prediction.semantic_logits is not None
        pick = slice(i, i + 1)
        slots = Slots(prediction.slots.class_logits[pick], prediction.slots.mask_logits[pick])
        one = Prediction(slots, prediction.embedding[pick], prediction.semantic_logits[pick])
        alone.append(KMaxLoss(LossConfig(remask=True, reclass=True), [True] * K)([one], part, generators()[i : i + 1]))
    for name, value in whole.items():
        torch.testing.assert_close(value, (alone[0][name] + alone[1][name]) / 2)


def test_discrimination_of_orthogonal_segments_is_the_closed_form() -> None:
    """Two segments of 2 pixels with orthogonal embeddings: CE between halves and softmax of (1, 1, 0, 0) / 0.3."""
    embedding = torch.tensor([[[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]]).unsqueeze(2)
    targets = Targets(
        rows=torch.tensor([[0, 0, 1, 1]]),
        valid=torch.ones(1, 4, dtype=torch.bool),
        labels=torch.tensor([[0, 0]]),
        areas=torch.tensor([[2.0, 2.0]]),
    )
    same = math.exp(1 / 0.3) / (2 * math.exp(1 / 0.3) + 2)
    assert float(discriminate(embedding, targets, 4, generators()[:1])) == pytest.approx(-math.log(same), rel=1e-5)
