"""A training that starts from a trained network: what is taken over, what is fresh, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgeseg.config import Config
from edgeseg.data.coco_panoptic import PanopticFolder
from edgeseg.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgeseg.engine.start import is_checkpoint, start_from, take_over
from edgeseg.engine.train import Trainer, make_fabric
from edgeseg.models import HEADS, SlotsModel, build_model
from edgeseg.structures import Category, InputError
from tests.engine.conftest import tiny

Categories = tuple[Category, ...]


def network(config: Config, categories: Categories, seed: int) -> SlotsModel:
    torch.manual_seed(seed)
    return build_model(config.model, [c.is_thing for c in categories], config.data.image_size)


def saved(config: Config, categories: Categories, folder: Path) -> Checkpoint:
    weights = network(config, categories, seed=1).state_dict()
    path = folder / "best.safetensors"
    save_checkpoint(path, {"weights": weights}, config=config, categories=categories, step=3, metrics={})
    return load_checkpoint(path)


def taken(model: SlotsModel, checkpoint: Checkpoint) -> set[str]:
    """Names of the tensors that equal the checkpoint's."""
    theirs = checkpoint.tensors["weights"]
    return {
        name for name, t in model.state_dict().items() if t.shape == theirs[name].shape and torch.equal(t, theirs[name])
    }


@pytest.mark.parametrize("head", HEADS)
def test_with_the_same_categories_all_is_taken_over(head: str, samples: PanopticFolder, tmp_path: Path) -> None:
    config = replace(tiny(), model=replace(tiny().model, head=head))
    checkpoint = saved(config, samples.categories, tmp_path)
    model = network(config, samples.categories, seed=2)
    assert take_over(model, checkpoint, config, samples.categories) == []
    assert taken(model, checkpoint) == model.state_dict().keys()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("change", ["fewer", "renamed"])
def test_with_other_categories_what_says_categories_is_fresh(
    head: str, change: str, samples: PanopticFolder, tmp_path: Path
) -> None:
    """Renamed ones have the same shapes: their weights mean something else all the same."""
    config = replace(tiny(), model=replace(tiny().model, head=head))
    checkpoint = saved(config, samples.categories, tmp_path)
    categories = (
        samples.categories[:-3]
        if change == "fewer"
        else tuple(replace(c, name=f"other {c.name}") for c in samples.categories)
    )
    model = network(config, categories, seed=2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fresh = take_over(model, checkpoint, config, categories)
    assert fresh
    assert not [name for name in fresh if name.startswith("backbone.")]
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in fresh)
    assert model.state_dict().keys() - set(fresh) <= taken(model, checkpoint)
    assert sum(before[name].numel() for name in fresh) < 0.3 * sum(t.numel() for t in before.values())


def test_at_another_size_with_other_queries_and_sums_only_the_queries_are_fresh(
    samples: PanopticFolder, tmp_path: Path
) -> None:
    checkpoint = saved(tiny(), samples.categories, tmp_path)
    data = replace(tiny().data, image_size=(96, 64))
    model = replace(tiny().model, num_queries=20, kmeans_update="mean")
    config = replace(tiny(), data=data, model=model)
    assert take_over(network(config, samples.categories, 2), checkpoint, config, samples.categories) == ["head.queries"]


@pytest.mark.parametrize(
    ("other", "options"),
    [
        ({"backbone": "mobilenet_v2"}, "--model.backbone mobilenet_v3_small_minimalistic_x1_5"),
        ({"head": "maskconver", "query_dim": 16}, "--model.head kmax --model.query-dim 32"),
        ({"kmeans_strides": (8,)}, "--model.kmeans-strides 32 16 8"),
        (
            {"backbone": "tiny_moat_0", "position_bias": True},
            "--model.backbone mobilenet_v3_small_minimalistic_x1_5 --model.no-position-bias",
        ),
    ],
)
def test_another_network_is_refused_with_the_options_that_make_it_the_same(
    other: dict[str, object], options: str, samples: PanopticFolder, tmp_path: Path
) -> None:
    checkpoint = saved(tiny(), samples.categories, tmp_path)
    config = replace(tiny(), model=replace(tiny().model, **other))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=f"is of another network; start from it with {options}$"):
        take_over(network(config, samples.categories, seed=2), checkpoint, config, samples.categories)


def test_a_run_a_file_and_a_shipped_name_are_checkpoints_and_weights_are_not(
    samples: PanopticFolder, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    checkpoint = saved(tiny(), samples.categories, tmp_path)
    save_file({"a": torch.zeros(1)}, tmp_path / "weights.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    assert all(map(is_checkpoint, (str(tmp_path), str(checkpoint.path), "remax-t-street")))
    others = ("hub", "nowhere.pth", str(tmp_path / "weights.safetensors"), str(tmp_path / "broken.safetensors"))
    assert not any(map(is_checkpoint, others))
    with pytest.raises(InputError, match="holds no readable tensors"):
        start_from(network(tiny(), samples.categories, 2), others[3], tiny(), samples.categories)


def test_a_training_starts_from_a_trained_network_and_says_so(
    samples: PanopticFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = saved(tiny(), samples.categories, tmp_path / "first")
    config = tiny(steps=1, lr=1e-12, pretrained=str(tmp_path / "first"))
    trainer = Trainer(config, samples.categories, tmp_path / "second", make_fabric(config))
    assert taken(trainer.model, checkpoint) == trainer.model.state_dict().keys()
    trainer.fit(samples, samples)
    assert f"starting from {checkpoint.path}, all of it" in capsys.readouterr().err
    assert load_checkpoint(tmp_path / "second").config.train.pretrained == str(tmp_path / "first")

    checkpoint.path.unlink()  # a run that has begun needs it no more
    resumed = Trainer(config, samples.categories, tmp_path / "second", make_fabric(config), resume=True)
    assert resumed.clock.step == 1
    assert not resumed.start


def test_the_shipped_nuclei_network_starts_one_of_other_cells(samples: PanopticFolder) -> None:
    shipped = load_checkpoint(Path("remax-t-nuclei"))
    categories = samples.categories[:4]
    model = network(shipped.config, categories, seed=0)
    assert "fresh are head.classify" in start_from(model, "remax-t-nuclei", shipped.config, categories)
