"""What devices print about themselves, and what is read from it.

The texts are as Linux's sysfs and procfs and AOSP's `dumpsys` (BatteryService, ThermalManagerService) write them.
"""

from __future__ import annotations

import subprocess

import pytest

from edgeseg.bench.machine import FACTS, STATE, device_of, emulator, state_of, this_machine
from edgeseg.bench.measurement import Device, DeviceState
from edgeseg.bench.protocol import is_cool

PHONE = """machine=aarch64
system=Linux
release=6.1.75-android14
cores=9
kib=11838564
modalias=cpu:type:aarch64:feature:,0000,0001
cpuinfo CPU implementer=0x41
ro.product.manufacturer=Google
ro.product.model=Pixel 8
ro.soc.manufacturer=Google
ro.soc.model=Tensor G3
ro.hardware=shiba
ro.build.version.release=16
ro.build.version.sdk=36
"""

BOARD = """machine=aarch64
system=Linux
release=6.6.31
cores=4
kib=8245248
board=Raspberry Pi 5 Model B Rev 1.0
compatible=raspberrypi,5-model-b brcm,bcm2712
cpuinfo CPU implementer=0x41
cpuinfo Model=Raspberry Pi 5 Model B Rev 1.0
"""

STATES = """zone 41250 cpu-0-0
zone 55000 gpu
zone -274000 cpu-broken
zone 39000 big
zone  quiet-therm
cpu 1803000 sched_pixel
cpu 2914000 sched_pixel
battery 81 301 Not charging
load 1.25 1.00 0.90 2/900 1234
dump Current Battery Service state:
dump   AC powered: false
dump   USB powered: true
dump   status: 2
dump   level: 80
dump   temperature: 315
heat IsStatusOverride: false
heat Thermal Status: 1
heat Cached temperatures:
heat \tTemperature{mValue=38.5, mType=3, mName=skin, mStatus=1}
heat \tTemperature{mValue=61.5, mType=0, mName=BIG, mStatus=0}
"""


def test_a_phone_and_a_board_are_named_as_people_name_them() -> None:
    assert device_of(PHONE) == Device("Google Pixel 8", 9, "Android 16 (API 36)", "aarch64", 11561, "Google Tensor G3")
    board = "Raspberry Pi 5 Model B Rev 1.0"
    assert device_of(BOARD) == Device(board, 4, "Linux 6.6.31", "aarch64", 8052, board)
    assert emulator(PHONE) == emulator(BOARD) == ""


@pytest.mark.parametrize(
    "change, says",
    [
        ("ro.kernel.qemu=1\n", "Android emulator"),
        ("ro.boot.qemu=1\n", "Android emulator"),
        ("ro.hardware=ranchu\n", "Android emulator (ranchu)"),
        ("modalias=cpu:type:x86,ven0002fam0019\n", "qemu-user (aarch64 on x86)"),
        ("modalias=\nkernel=x86_64\n", "qemu-user (aarch64 on x86_64)"),
        ("compatible=linux,dummy-virt\n", "qemu (virt)"),
    ],
)
def test_an_emulator_is_known_by_what_it_lets_through(change: str, says: str) -> None:
    assert emulator(PHONE + change) == says


def test_qemu_user_that_hands_the_hosts_processors_on_is_known() -> None:
    """Before qemu 8.2 /proc/cpuinfo is the host's, and a container may hide /sys."""
    assert emulator("machine=aarch64\ncpuinfo model name=AMD EPYC\n") == "qemu-user (aarch64 on AMD EPYC)"


def test_a_cloud_machine_is_no_emulator_and_plain_qemu_is() -> None:
    cloud = "machine=x86_64\nmodalias=cpu:type:x86,ven0002\nkernel=x86_64\nvendor=QEMU\ncpuinfo model name="
    assert emulator(cloud + "AMD EPYC") == ""
    assert emulator(cloud + "QEMU TCG CPU version 2.5+") == "qemu (TCG)"


def test_a_32_bit_system_on_a_64_bit_arm_kernel_is_no_emulator() -> None:
    assert emulator("machine=armv8l\nmodalias=cpu:type:aarch64:feature:,0000\ncpuinfo CPU implementer=0x41\n") == ""


def test_a_state_is_read_from_sysfs_and_dumpsys_and_dumpsys_knows_the_battery_better() -> None:
    assert state_of(STATES) == DeviceState(
        battery_percent=80,
        is_charging=True,
        battery_celsius=31.5,
        thermal_status=1,
        hottest_celsius=41.25,
        governors=("sched_pixel",),
        clock_mhz=(1803, 2914),
        load=1.25,
    )


def test_without_readable_zones_android_says_how_hot_its_processors_are() -> None:
    lines = [line for line in STATES.splitlines() if not line.startswith(("zone", "battery", "dump"))]
    state = state_of("\n".join(lines))
    assert state.hottest_celsius == 61.5
    assert state.battery_percent is state.is_charging is state.battery_celsius is None


def test_a_laptops_battery_is_read_from_sysfs() -> None:
    state = state_of("battery 55 - Discharging\n")
    assert (state.battery_percent, state.is_charging, state.battery_celsius) == (55, False, None)


def test_a_device_that_says_nothing_has_no_state() -> None:
    assert state_of("zone  \n") == DeviceState()


def test_the_scripts_run_here() -> None:
    for script in (FACTS, STATE):
        assert subprocess.run(["sh", "-c", script], capture_output=True).returncode == 0
    assert this_machine().cores >= 1


@pytest.mark.parametrize(
    "now, cool",
    [
        (DeviceState(thermal_status=0, hottest_celsius=48.0, battery_celsius=32.0), True),
        (DeviceState(thermal_status=1, hottest_celsius=40.0, battery_celsius=30.0), False),
        (DeviceState(thermal_status=0, hottest_celsius=48.5, battery_celsius=30.0), False),
        (DeviceState(thermal_status=0, hottest_celsius=40.0, battery_celsius=32.5), False),
        (DeviceState(), True),
    ],
)
def test_cool_is_unthrottled_and_about_as_warm_as_at_first(now: DeviceState, cool: bool) -> None:
    assert is_cool(now, DeviceState(thermal_status=0, hottest_celsius=40.0, battery_celsius=30.0)) == cool
