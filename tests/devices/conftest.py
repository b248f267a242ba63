"""Virtual ARM devices for the tests of this folder; the first use of a fresh machine builds their file system."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.devices import arm_root
from tests.devices.arm_device import ArmDevices
from tests.devices.namespace import reason_not_here

BUILD_SECONDS = 2400
"""Time that a cold start may take: 9 minutes were seen beside other work, 2.6 of a processor."""


@pytest.fixture(scope="session")
def arm_files() -> Path:
    """File system and emulator of the devices."""
    missing = [tool for tool in ("adb", "ssh", "ssh-keygen") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"virtual ARM devices need {', '.join(missing)}: apt-get install adb openssh-client")
    if reason := reason_not_here() or arm_root.reason_not_built():
        pytest.skip(reason)
    return arm_root.build()


@pytest.fixture(scope="module")
def device(arm_files: Path) -> Iterator[ArmDevices]:
    """One device, shared by a module's tests."""
    with ArmDevices() as devices:
        yield devices
