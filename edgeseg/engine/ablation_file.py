"""The TOML file of an ablation: axes of config changes, crossed with each other and with seeds."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeseg.config import Config, config_from_dict, config_to_dict, load_config, nearest, read_toml
from edgeseg.structures import InputError

Table = dict[str, Any]
Choice = tuple[str, ...]
"""One value of each axis."""

KEYS = ("config", "seeds", "change", "axes", "same")


@dataclass(frozen=True)
class Cell:
    """One training.

    Attributes:
        name: What the combination is called, without axes that make no difference to it.
        same_as: Other combinations that are the same network.
        seed: Of weights, order and augmentation.
        config: The whole experiment.
    """

    name: str
    same_as: tuple[str, ...]
    seed: int
    config: Config

    @property
    def folder(self) -> str:
        """Its folder's name: what it is called, and eight digits that change with anything of its config."""
        digits = hashlib.sha256(json.dumps(config_to_dict(self.config), sort_keys=True).encode()).hexdigest()[:8]
        return f"{re.sub(r'[^A-Za-z0-9.]+', '-', self.name).strip('-')}-seed{self.seed}-{digits}"


@dataclass(frozen=True)
class Same:
    """Configs with the values of `where` train the same network as with those of `as_` too."""

    where: Table
    as_: Table


@dataclass(frozen=True)
class AblationFile:
    """What the TOML says.

    Attributes:
        path: The file.
        base: Config that all cells start from, `change` included.
        seeds: Each combination is trained with each.
        axes: By axis, by the name of a value: its changes.
        same: Applied in turn until nothing changes.
    """

    path: Path
    base: Table
    seeds: tuple[int, ...]
    axes: Mapping[str, Mapping[str, Table]]
    same: Sequence[Same] = field(default=())

    def cells(self) -> list[Cell]:
        """Every training, seed by seed, so that a slow hour hits all combinations alike; same networks once."""
        combinations: dict[str, list[Choice]] = {}
        configs: dict[str, Config] = {}
        for choice in itertools.product(*self.axes.values()):
            config = self._settled(choice)
            key = json.dumps(config_to_dict(config))
            configs[key] = config
            combinations.setdefault(key, []).append(choice)
        return [
            Cell(*self._names(combinations[key]), seed, replace(config, train=replace(config.train, seed=seed)))
            for seed in self.seeds
            for key, config in configs.items()
        ]

    def _names(self, choices: Sequence[Choice]) -> tuple[str, tuple[str, ...]]:
        """The first choice's name without the axes whose every value is among `choices`, and the names of the rest."""
        first = choices[0]
        free = {
            index
            for index, values in enumerate(self.axes.values())
            if len(values) > 1 and {(*first[:index], value, *first[index + 1 :]) for value in values} <= set(choices)
        }
        rest = [c for c in choices if any(c[index] != first[index] for index in range(len(first)) if index not in free)]
        return self._name(first, free), tuple(self._name(choice, set()) for choice in rest)

    def _name(self, choice: Choice, left_out: set[int]) -> str:
        """The first axis speaks for itself, the others say theirs: "ReClass, eta 0.1"."""
        parts = [
            f"{axis} {value}" if index else value
            for index, (axis, value) in enumerate(zip(self.axes, choice, strict=True))
        ]
        return ", ".join(part for index, part in enumerate(parts) if index not in left_out) or "all"

    def _settled(self, choice: Choice) -> Config:
        """The config of a combination with all rules of `same` applied."""
        table, where = self.base, f"{self.path}: {self._name(choice, set())}"
        for axis, value in zip(self.axes.values(), choice, strict=True):
            table = _merged(table, axis[value])
        for _ in range(len(self.same) + 1):
            before = config_to_dict(config_from_dict(Config, table, where=where))
            table = before
            for rule in self.same:
                if _holds(rule.where, table):
                    table = _merged(table, rule.as_)
            if config_to_dict(config_from_dict(Config, table, where=where)) == before:
                return config_from_dict(Config, table, where=where)
        raise InputError(f"{where}: the rules of 'same' undo each other; let one of them stand")


def read_ablation(path: Path, *, data: Path | None = None) -> AblationFile:
    """Reads and checks an ablation's TOML file (docs/ablations.md).

    Args:
        path: The file.
        data: Takes the place of data.root in every cell that does not set its own.

    Raises:
        InputError: Missing, not TOML, or a key or value that does not exist (the nearest one is named).
    """
    table = read_toml(path)
    for key in table:
        if key not in KEYS:
            raise InputError(f"{path}: unknown key {key!r}{nearest(key, list(KEYS))}; known are {', '.join(KEYS)}")
    seeds = table.get("seeds", [0])
    if not isinstance(seeds, list) or not seeds or any(type(seed) is not int for seed in seeds):
        raise InputError(f"{path}: seeds = {seeds!r}; a list of whole numbers such as [0, 1, 2] is wanted")
    if len(set(seeds)) < len(seeds):
        raise InputError(f"{path}: seeds = {seeds!r} names one twice; each is one run")
    config = table.get("config")
    if not isinstance(config, str):
        raise InputError(f"{path}: config = {config!r}; the name of a shipped config or a .toml file is wanted")
    base = config_to_dict(load_config(config))
    if data is not None:
        base = _merged(base, {"data": {"root": str(data)}})
    base = _merged(base, _changes(table.get("change", {}), f"{path}: change"))
    axes = table.get("axes")
    if not isinstance(axes, dict) or not axes or not all(isinstance(axis, dict) and axis for axis in axes.values()):
        raise InputError(f"{path}: axes is missing or empty; [axes.NAME] holds VALUE = {{ config changes }}")
    checked = {
        axis: {value: _changes(change, f"{path}: axes.{axis}.{value}") for value, change in values.items()}
        for axis, values in axes.items()
    }
    return AblationFile(path, base, tuple(seeds), checked, tuple(_rules(table.get("same", []), path)))


def _rules(rows: object, path: Path) -> Iterator[Same]:
    if not isinstance(rows, list):
        raise InputError(f"{path}: same = {rows!r}; [[same]] holds 'where' and 'as'")
    for row in rows:
        if not isinstance(row, dict) or row.keys() != {"where", "as"}:
            raise InputError(f"{path}: same = {row!r}; [[same]] holds 'where' and 'as', each with config values")
        yield Same(_changes(row["where"], f"{path}: same.where"), _changes(row["as"], f"{path}: same.as"))


def _changes(change: object, where: str) -> Table:
    """A table of config changes whose keys and values exist, as the config holds them."""
    if not isinstance(change, dict):
        raise InputError(f"{where} = {change!r}; a table such as {{ loss.remask = false }} is wanted")
    if "seed" in change.get("train", {}):
        raise InputError(f"{where}: train.seed comes from 'seeds'; name the seeds there")
    full = config_to_dict(config_from_dict(Config, change, where=where))
    return {part: {key: full[part][key] for key in values} for part, values in change.items()}


def _merged(table: Table, change: Table) -> Table:
    return {part: {**values, **change.get(part, {})} for part, values in table.items()}


def _holds(where: Table, table: Table) -> bool:
    return all(table[part][key] == value for part, values in where.items() for key, value in values.items())
