"""Distillation against plain loops over images, cells and segments, written from the definition."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseg.config import LossConfig
from edgeseg.losses.distillation import distillation_terms, divergence, on_boundary
from edgeseg.structures import Batch, Slots

K, HEIGHT, WIDTH, STRIDE = 3, 4, 6, 4


def some_batch(seed: int) -> Batch:
    """Two images of blocks of three segments and void, at stride 4 a cell each."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randint(-1, 3, (2, HEIGHT // 2, WIDTH // 2), generator=generator)
    rows = cells.repeat_interleave(2 * STRIDE, 1).repeat_interleave(2 * STRIDE, 2).to(torch.int16)
    categories = [torch.randint(0, K, (3,), generator=generator) for _ in range(2)]
    return Batch(torch.zeros(2, 3, HEIGHT * STRIDE, WIDTH * STRIDE, dtype=torch.uint8), rows, categories, [1, 2])


def some_slots(seed: int, count: int, *, sharp: float = 2.0) -> Slots:
    generator = torch.Generator().manual_seed(seed)
    classes = sharp * torch.randn(2, count, K + 1, generator=generator, dtype=torch.float64)
    masks = sharp * torch.randn(2, count, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)
    return Slots(classes.requires_grad_(), masks.requires_grad_())


def softmax(values: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in values)
    return [math.exp(value) / total for value in values]


def best_slots(
    slots: Slots, image: int, cells: dict[int, list[tuple[int, int]]], labels: list[int], valid: list[tuple[int, int]]
) -> dict[int, int]:
    """Of all ways to give segments slots of their own the one of the largest sum of dice times probability."""
    count = slots.class_logits.shape[1]
    mask = {
        place: softmax([float(slots.mask_logits[image, n, place[0], place[1]]) for n in range(count)])
        for place in valid
    }
    probability = [softmax(slots.class_logits[image, n].tolist()) for n in range(count)]
    segments = sorted(cells)

    def value(segment: int, slot: int) -> float:
        inside = sum(mask[place][slot] for place in cells[segment])
        mass = sum(mask[place][slot] for place in valid)
        return (2 * inside + 1) / (mass + len(cells[segment]) + 1) * probability[slot][labels[segment]]

    chosen = max(
        itertools.permutations(range(count), len(segments)),
        key=lambda slots_: sum(value(segment, slot) for segment, slot in zip(segments, slots_, strict=True)),
    )
    return dict(zip(segments, chosen, strict=True))


def regions(logits: torch.Tensor, slots: list[int]) -> list[float]:
    """Probability of these slots at one cell, and of all others together."""
    each = softmax(logits.tolist())
    return [*(each[slot] for slot in slots), max(1 - sum(each[slot] for slot in slots), math.exp(-30))]


def slowly(student: Slots, teacher: Slots, batch: Batch, config: LossConfig) -> tuple[float, float]:
    """Mask and class term, one cell and one segment at a time."""
    student, teacher = (Slots(*(tensor.detach() for tensor in slots)) for slots in (student, teacher))
    temperature, mask_terms, class_terms = config.distill_temperature, [], []
    for image in range(2):
        row_at = {
            (y, x): int(batch.label_map[image, STRIDE * y + STRIDE // 2, STRIDE * x + STRIDE // 2])
            for y in range(HEIGHT)
            for x in range(WIDTH)
        }
        labels = batch.categories[image].tolist()
        valid = [place for place, row in row_at.items() if row >= 0]
        cells = {row: [p for p in valid if row_at[p] == row] for row in set(row_at.values()) - {-1}}
        learnt = best_slots(student, image, cells, labels, valid)
        taught = best_slots(teacher, image, cells, labels, valid)
        pairs = {
            row: (learnt[row], taught[row])
            for row in cells
            if max(range(K + 1), key=lambda c: float(teacher.class_logits[image, taught[row], c])) == labels[row]
        }

        means: dict[bool, list[float]] = {False: [], True: []}
        for y, x in valid:
            if row_at[y, x] not in pairs:
                continue
            around = {row_at.get((y + dy, x + dx), row_at[y, x]) for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
            wanted = regions(teacher.mask_logits[image, :, y, x] / temperature, [b for _, b in pairs.values()])
            found = regions(student.mask_logits[image, :, y, x] / temperature, [a for a, _ in pairs.values()])
            means[len(around) > 1].append(sum(p * math.log(p / q) for p, q in zip(wanted, found, strict=True)))
        body, edge = (sum(values) / max(1, len(values)) for values in (means[False], means[True]))
        mask_terms.append(body + config.distill_boundary_weight * edge)

        kl = []
        for a, b in pairs.values():
            wanted = softmax((teacher.class_logits[image, b] / temperature).tolist())
            found = softmax((student.class_logits[image, a] / temperature).tolist())
            kl.append(sum(p * math.log(p / q) for p, q in zip(wanted, found, strict=True)))
        class_terms.append(sum(kl) / max(1, len(kl)))
    scale = temperature**2
    return (
        config.distill_mask_weight * scale * sum(mask_terms) / 2,
        config.distill_class_weight * scale * sum(class_terms) / 2,
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([3, 4, 5]), st.sampled_from([3, 6]), st.sampled_from([1.0, 2.0]))
def test_terms_are_those_of_plain_loops(seed: int, num_student: int, num_teacher: int, temperature: float) -> None:
    """Double precision; networks with as many slots as segments included."""
    config = LossConfig(
        distill_temperature=temperature, distill_boundary_weight=3.0, distill_mask_weight=2.0, distill_class_weight=0.5
    )
    batch = some_batch(seed)
    student, teacher = some_slots(seed + 1, num_student), some_slots(seed + 2, num_teacher)
    terms = distillation_terms(student, teacher, batch, config)
    masks, classes = slowly(student, teacher, batch, config)
    assert float(terms["distill_mask"]) == pytest.approx(masks, rel=1e-9, abs=1e-9)
    assert float(terms["distill_class"]) == pytest.approx(classes, rel=1e-9, abs=1e-9)


def taught_batch() -> tuple[Batch, Slots]:
    """A batch, and a teacher that sees every segment."""
    batch = some_batch(3)
    teacher = some_slots(5, 6)
    with torch.no_grad():
        for image, labels in enumerate(batch.categories):
            rows = batch.label_map[image, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
            for row, label in enumerate(labels.tolist()):
                teacher.class_logits[image, row, label] += 20
                teacher.mask_logits[image, row] += 5 * (rows == row)
    return batch, teacher


def test_a_student_that_answers_like_its_teacher_learns_nothing() -> None:
    batch, teacher = taught_batch()
    terms = distillation_terms(teacher, teacher, batch, LossConfig())
    assert float(terms["distill_mask"]) == pytest.approx(0, abs=1e-12)
    assert float(terms["distill_class"]) == pytest.approx(0, abs=1e-12)


def test_the_order_of_slots_does_not_matter() -> None:
    batch, teacher = taught_batch()
    student = some_slots(7, 6)
    order = torch.tensor([5, 2, 0, 4, 1, 3])
    shuffled = Slots(student.class_logits[:, order], student.mask_logits[:, order])
    for name, value in distillation_terms(student, teacher, batch, LossConfig()).items():
        assert float(distillation_terms(shuffled, teacher, batch, LossConfig())[name]) == pytest.approx(float(value))
        assert float(value) > 0.1


def test_a_segment_that_the_teacher_takes_for_something_else_teaches_nothing() -> None:
    batch, teacher = taught_batch()
    with torch.no_grad():
        teacher.class_logits[..., K] += 100  # everything is void
    terms = distillation_terms(some_slots(7, 6), teacher, batch, LossConfig())
    assert {name: float(value) for name, value in terms.items()} == {"distill_mask": 0, "distill_class": 0}


def test_gradient_steps_bring_the_student_to_the_teacher_and_leave_the_teacher_alone() -> None:
    batch, teacher = taught_batch()
    student = some_slots(7, 6)
    totals = []
    for _ in range(60):
        terms = distillation_terms(student, Slots(*(t.detach() for t in teacher)), batch, LossConfig())
        total = terms["distill_mask"] + terms["distill_class"]
        totals.append(float(total))
        gradients = torch.autograd.grad(total, student)
        with torch.no_grad():
            for tensor, gradient in zip(student, gradients, strict=True):
                tensor -= 5.0 * gradient
    assert totals[-1] < 0.2 * totals[0]
    assert all(tensor.grad is None for tensor in teacher)


def test_masks_of_a_teacher_with_another_stride_are_enlarged() -> None:
    batch, teacher = taught_batch()
    small = replace_masks(teacher, torch.nn.functional.interpolate(teacher.mask_logits, (2, 3), mode="bilinear"))
    again = torch.nn.functional.interpolate(small.mask_logits, (HEIGHT, WIDTH), mode="bilinear", align_corners=False)
    student = some_slots(7, 6)
    found = distillation_terms(student, small, batch, LossConfig())
    wanted = distillation_terms(student, replace_masks(teacher, again), batch, LossConfig())
    assert {name: float(value) for name, value in found.items()} == {name: float(v) for name, v in wanted.items()}


def replace_masks(slots: Slots, masks: torch.Tensor) -> Slots:
    return Slots(slots.class_logits, masks)


def test_the_boundary_is_where_a_neighbour_differs() -> None:
    rows = torch.tensor([[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1], [-1, 0, 0, 1]]).reshape(1, 16)
    expected = [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]
    assert on_boundary(rows, (4, 4)).reshape(4, 4).int().tolist() == expected


def test_the_divergence_is_torchs() -> None:
    student, teacher = some_slots(1, 4).class_logits, some_slots(2, 4).class_logits
    expected = torch.nn.functional.kl_div(
        student.log_softmax(2), teacher.log_softmax(2), reduction="none", log_target=True
    ).sum(2)
    torch.testing.assert_close(divergence(student, teacher, dim=2), expected)


def test_an_image_of_nothing_but_void_is_survived() -> None:
    batch, teacher = taught_batch()
    empty = replace(batch, label_map=torch.full_like(batch.label_map, -1))
    terms = distillation_terms(some_slots(7, 6), teacher, empty, LossConfig())
    assert sum(float(value) for value in terms.values()) == 0
