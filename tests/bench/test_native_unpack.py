"""The C++ twin of `edgeseg unpack`: the same file comes back, and what is damaged is refused alike."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgeseg.bench.native_build import SOURCES
from edgeseg.export.pack import pack, unpack

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler; apt install g++ zlib1g-dev")
    out = tmp_path_factory.mktemp("unpack") / "edgeseg-unpack"
    sources = [str(SOURCES / "src" / f"{name}.cpp") for name in ("files", "sha256", "unpack", "unpack_main")]
    done = subprocess.run(
        [compiler, "-std=c++20", "-O2", "-Wall", "-Wextra", "-Werror", *sources, "-lz", "-o", str(out)]
    )
    if done.returncode:
        pytest.skip("the C++ compiler finds no zlib; apt install zlib1g-dev")
    return out


def run(program: Path, packed: bytes, folder: Path) -> tuple[int, bytes | None, str]:
    source, out = folder / "file.packed", folder / "file"
    source.write_bytes(packed)
    out.unlink(missing_ok=True)
    done = subprocess.run([program, source, out], capture_output=True, text=True)
    return done.returncode, out.read_bytes() if out.exists() else None, done.stderr


def content(seed: int, size: int) -> bytes:
    """Ternary runs of odd lengths between bytes of every value."""
    generator = np.random.default_rng(seed)
    parts = [generator.integers(0, 256, generator.integers(0, size), dtype=np.uint8).tobytes()]
    for _ in range(4):
        parts.append(generator.choice(np.array([255, 0, 1], np.uint8), generator.integers(1, size)).tobytes())
        parts.append(generator.integers(0, 256, generator.integers(0, 90), dtype=np.uint8).tobytes())
    return b"".join(parts)


@pytest.mark.parametrize("size", [1, 55, 56, 63, 64, 65, 119, 1000, 30_000])
def test_every_file_comes_back(program: Path, size: int, tmp_path: Path) -> None:
    wanted = content(size, size + 1)
    assert run(program, pack(wanted), tmp_path) == (0, wanted, "")


def test_what_python_refuses_it_refuses_in_one_line_and_writes_nothing(program: Path, tmp_path: Path) -> None:
    packed = pack(content(3, 400))
    generator = np.random.default_rng(0)
    damaged = [packed[:at] for at in (0, 7, 71, 72, 90, len(packed) - 1)] + [packed + b"x"]
    for at in (*range(72), *generator.integers(72, len(packed), 60).tolist()):
        damaged.append(packed[:at] + bytes([packed[at] ^ int(generator.integers(1, 256))]) + packed[at + 1 :])
    for case in damaged:
        with pytest.raises(ValueError, match=r"."):
            unpack(case)
        code, out, said = run(program, case, tmp_path)
        assert (code, out) == (2, None)
        assert said.count("\n") == 1
        assert "file.packed" in said
