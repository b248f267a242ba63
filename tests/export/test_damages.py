"""Each damage is found on the rung that it should be found on, and named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from edgeseg.cli import main
from edgeseg.export.bundle import open_bundle
from edgeseg.export.ladder import verify_bundle
from edgeseg.export.runtimes import MergeMode, get_runtime, is_available
from edgeseg.structures import Slots
from tests.export.damages import DAMAGES, Damage
from tests.export.small import CONFIG, SIZE, forge, lively_network, write_bundle

RUNGS = ["files", "golden", "artifacts", "quality"]


def test_a_sound_bundle_passes(small: Path) -> None:
    result = verify_bundle(small)
    assert result.failed is None
    assert [rung.passed for rung in result.rungs] == [True, True, True, None]
    for proof in result.artifacts:
        assert proof.verdict is not None
        assert proof.verdict.num_segments >= 20  # four images of many segments: equal maps mean something
        assert proof.verdict.pixels_equal >= 0.999
    assert "torch from weights.safetensors in float32" in result.rungs[1].statement


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_damage_is_found_on_its_rung_and_named(damage: Damage, small: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.edgeseg"
    shutil.copytree(small, path)
    damage.make(path)
    if damage.is_forged:
        forge(path)
    result = verify_bundle(path)
    states = {rung.name: rung.passed for rung in result.rungs}
    assert next(name for name in RUNGS if states[name] is False) == damage.rung
    problems = next(rung.problems for rung in result.rungs if rung.name == damage.rung)
    assert any(all(word in problem for word in damage.words) for problem in problems), problems
    assert result.failed is not None
    assert str(path) in result.failed


def test_a_damaged_bundle_ends_the_command_with_1_and_one_line(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.edgeseg"
    shutil.copytree(small, path)
    next(damage for damage in DAMAGES if damage.name == "swapped channels").make(path)
    forge(path)
    assert main(["verify", str(path), "--quiet"]) == 1
    said = capsys.readouterr()
    assert "3 artifacts FAILED  2 of 3 artifacts agree" in said.out
    assert said.err.strip().splitlines()[-1].startswith(f"edgeseg: {path}, rung artifacts: ")
    assert "swapped channels: it reads BGR where RGB is handed over: with that undone 1.0000" in said.err


class Changed(nn.Module):
    """A network with something wrong before it or behind it."""

    def __init__(
        self,
        before: Callable[[torch.Tensor], torch.Tensor] = lambda image: image,
        behind: Callable[[torch.Tensor, torch.Tensor], Slots] = Slots,
    ) -> None:
        super().__init__()
        self.network, self.before, self.behind = lively_network(), before, behind

    def forward(self, image: torch.Tensor) -> Slots:
        """See lively_network."""
        return self.behind(*self.network(self.before(image)))


def void_first(class_logits: torch.Tensor, mask_logits: torch.Tensor) -> Slots:
    """As products with permutations: Core ML's interpreter knows no roll and no flip, which no network of ours has."""
    return Slots(class_logits @ torch.eye(class_logits.shape[2]).roll(1, 1), mask_logits)


def upside_down(class_logits: torch.Tensor, mask_logits: torch.Tensor) -> Slots:
    return Slots(class_logits, torch.eye(mask_logits.shape[2]).flip(0) @ mask_logits)


MEAN, STD = (torch.tensor(values).view(1, 3, 1, 1) for values in (CONFIG.model.mean, CONFIG.model.std))
CONVERTED: tuple[tuple[str, MergeMode, Callable[[], nn.Module], tuple[int, int], str], ...] = (
    ("executorch", "graph", lambda: Changed(lambda x: x * STD + MEAN), SIZE, "normalisation dropped"),
    ("executorch", "graph", lambda: lively_network(size=(96, 64)), (96, 64), "wrong size: it takes images of 96 x 64"),
    ("litert", "app", lambda: Changed(lambda x: x.flip(1)), SIZE, "swapped channels"),
    ("litert", "app", lambda: lively_network(size=(96, 64)), (96, 64), "wrong size: it takes images of 96 x 64"),
    ("coreml", "app", lambda: Changed(behind=void_first), SIZE, "void is read as class 0"),
    ("coreml", "app", lambda: Changed(behind=upside_down), SIZE, "upside down"),
)


@pytest.mark.slow
@pytest.mark.parametrize("name, merge, make, size, words", CONVERTED, ids=[f"{row[0]}-{row[4]}" for row in CONVERTED])
def test_damage_done_before_conversion_is_named_in_other_runtimes(
    name: str, merge: MergeMode, make: Callable[[], nn.Module], size: tuple[int, int], words: str, tmp_path: Path
) -> None:
    runtime = get_runtime(name)
    if not is_available(runtime):
        pytest.skip(f"{name} is not installed: pip install 'edgeseg[{runtime.pip_extra}]'")
    path = tmp_path / "small.edgeseg"
    write_bundle(path, {"float32": lively_network()}, [(name, "float32", merge)], exported=make(), size=size)
    (problem,) = verify_bundle(path).rungs[2].problems
    assert words in problem


@pytest.mark.slow
@pytest.mark.parametrize("name", ["executorch", "litert", "coreml"])
def test_a_truncated_file_of_any_runtime_is_named_without_a_traceback(name: str, tmp_path: Path) -> None:
    """The committed bundle's files; of Core ML's package the weights are cut."""
    runtime = get_runtime(name)
    if not is_available(runtime):
        pytest.skip(f"{name} is not installed: pip install 'edgeseg[{runtime.pip_extra}]'")
    path = tmp_path / "tiny.edgeseg"
    shutil.copytree(Path(__file__).parents[2] / "apps" / "spec" / "tiny.edgeseg", path)
    artifact = open_bundle(path).find(name, "float32")
    file = path / artifact.file
    target = next(file.rglob("weight.bin")) if file.is_dir() else file
    target.write_bytes(target.read_bytes()[: target.stat().st_size // 2])
    forge(path)
    (problem,) = verify_bundle(path).rungs[2].problems
    assert problem.startswith(f"{artifact.file}: truncated or damaged file: ")
