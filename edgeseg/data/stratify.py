"""Groups of images dealt out to splits so that every category is in each in its share.

Iterative stratification (Sechidis, Tsoumakas, Vlahavas, "On the Stratification of Multi-Label Data", ECML PKDD 2011,
algorithm 1) with groups in the place of examples: the category that the fewest undealt images show is dealt first; each
of its groups, those with most such images first, goes to the split that still wants most images of that category, of
equals to the one that wants most images at all. Added here: a split that has its images takes no more, so that no split
exceeds its share by a whole group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeseg.structures import InputError


@dataclass(frozen=True)
class Group:
    """Images that stay together.

    Attributes:
        name: For order and messages.
        num_images: How many.
        presence: Number of its images that show each category.
    """

    name: str
    num_images: int
    presence: Mapping[int, int]


def stratify(groups: Sequence[Group], shares: Sequence[float], *, seed: int) -> list[int]:
    """Deals groups out.

    Args:
        groups: Names are unique; their order does not matter.
        shares: Of the images for each split; they sum up to 1.
        seed: Decides between equals.

    Returns:
        The split of each group. Every split has fewer than its share plus the largest group.

    Raises:
        InputError: A split of a positive share stays empty, because there are too few groups.
    """
    num_images = sum(group.num_images for group in groups)
    wanted = np.array(shares) * num_images
    rng = np.random.Generator(np.random.PCG64(seed))
    luck = dict(zip(sorted(group.name for group in groups), rng.permutation(len(groups)).tolist(), strict=True))
    totals: dict[int, int] = {}
    for group in groups:
        for category_id, count in group.presence.items():
            totals[category_id] = totals.get(category_id, 0) + count
    wanted_of = {category_id: np.array(shares) * total for category_id, total in totals.items()}
    undealt = {group.name: group for group in groups}
    split_of: dict[str, int] = {}

    def deal(group: Group, want: np.ndarray) -> None:
        open_splits = np.flatnonzero(wanted > 1e-9)
        split = max(open_splits.tolist(), key=lambda s: (want[s], wanted[s], -s))
        split_of[group.name] = split
        wanted[split] -= group.num_images
        for category_id, count in group.presence.items():
            wanted_of[category_id][split] -= count
            totals[category_id] -= count
        del undealt[group.name]

    while any(totals.values()):
        rarest = min((c for c, total in totals.items() if total), key=lambda c: (totals[c], c))
        shows = [group for group in undealt.values() if group.presence.get(rarest)]
        for group in sorted(shows, key=lambda g: (-g.presence[rarest], -g.num_images, luck[g.name])):
            deal(group, wanted_of[rarest])
    for group in sorted(undealt.values(), key=lambda g: (-g.num_images, luck[g.name])):
        deal(group, wanted)
    used = set(split_of.values())
    empty = [split for split, share in enumerate(shares) if share > 0 and split not in used]
    if empty:
        raise InputError(
            f"{num_images} images in {len(groups)} groups leave the part of {shares[empty[0]]:g} empty; use smaller "
            "groups or a larger part"
        )
    return [split_of[group.name] for group in groups]
