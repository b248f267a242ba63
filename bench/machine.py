"""What a device is, and what state it is in: two shell scripts and the readers of what they print.

They run through a device's own `sh`: Android's, a Linux board's, a Mac's, this computer's.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess

from edgeseg.bench.measurement import Device, DeviceState

FACTS = r"""
say() { [ -z "$2" ] || printf '%s=%s\n' "$1" "$2"; }
say machine "$(uname -m)"
say system "$(uname -s)"
say release "$(uname -r)"
say cores "$(getconf _NPROCESSORS_ONLN 2>/dev/null || nproc --all)" # nproc alone obeys OMP_NUM_THREADS
say kib "$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)"
say bytes "$(sysctl -n hw.memsize)"
say processor "$(sysctl -n machdep.cpu.brand_string)"
say modalias "$(cat /sys/devices/system/cpu/modalias)"
say kernel "$(cat /proc/sys/kernel/arch)"
say board "$(tr -d '\000' </proc/device-tree/model)"
say compatible "$(tr '\000' ' ' </proc/device-tree/compatible)"
say vendor "$(cat /sys/class/dmi/id/sys_vendor)"
say chassis "$(cat /sys/class/dmi/id/product_name)"
sed -n 's/^\(model name\|Model\|Hardware\|CPU implementer\)[[:space:]]*: */cpuinfo \1=/p' /proc/cpuinfo | sort -u
if command -v getprop >/dev/null; then
  for key in ro.product.manufacturer ro.product.model ro.soc.manufacturer ro.soc.model ro.board.platform ro.hardware \
      ro.build.version.release ro.build.version.sdk ro.kernel.qemu ro.boot.qemu; do say "$key" "$(getprop $key)"; done
fi
true
"""
"""Prints `key=value` lines that `device_of` and `emulator` read."""

STATE = r"""
for zone in /sys/class/thermal/thermal_zone*; do echo "zone $(cat "$zone/temp") $(cat "$zone/type")"; done
for cpu in /sys/devices/system/cpu/cpu[0-9]*; do
  [ -d "$cpu/cpufreq" ] && echo "cpu $(cat "$cpu/cpufreq/scaling_cur_freq") $(cat "$cpu/cpufreq/scaling_governor")"
done
for supply in /sys/class/power_supply/*; do
  [ "$(cat "$supply/type")" = Battery ] &&
    echo "battery $(cat "$supply/capacity") $(cat "$supply/temp" || echo -) $(cat "$supply/status")"
done
echo "load $(cat /proc/loadavg)"
if command -v dumpsys >/dev/null; then
  dumpsys battery | sed 's/^/dump /'
  dumpsys thermalservice | sed 's/^/heat /'
fi
true
"""
"""Prints what `state_of` reads."""

_ANDROID_CHARGING, _CPU_HEAT = 2, 0  # BatteryManager.BATTERY_STATUS_CHARGING, Temperature.TYPE_CPU
_CPU_ZONES = re.compile(r"cpu|soc|pkg|core|acpitz|cluster|big|little|mid", re.IGNORECASE)


def device_of(text: str) -> Device:
    """A device from the output of `FACTS`."""
    facts = _facts(text)
    system = f"{facts.get('system', '?')} {facts.get('release', '')}".strip()
    name = next((facts[key] for key in _PROCESSOR_KEYS if key in facts), "unknown processor")
    soc = facts.get("board", "")
    if "ro.product.model" in facts:
        name = f"{facts.get('ro.product.manufacturer', '')} {facts['ro.product.model']}".strip()
        system = f"Android {facts.get('ro.build.version.release', '?')} (API {facts.get('ro.build.version.sdk', '?')})"
        maker, chip = facts.get("ro.soc.manufacturer", ""), facts.get("ro.soc.model", "")
        soc = f"{maker} {chip}".strip() or facts.get("ro.board.platform") or facts.get("ro.hardware", "")
    memory_mib = int(facts["kib"]) // 2**10 if "kib" in facts else int(facts.get("bytes", 0)) // 2**20
    return Device(name, int(facts.get("cores", 1)), system, facts.get("machine", "?"), memory_mib, soc)


def emulator(text: str) -> str:
    """What emulates the device, from the output of `FACTS`; empty where nothing says so.

    An Android emulator says so in its properties. qemu-user passes the host kernel's files through: a processor of
    another family than `uname -m` claims. A whole machine under qemu names itself in its device tree or DMI, unless a
    hypervisor runs it on a processor of its own kind (an x86-64 cloud machine), which is slow only as its host is.
    """
    facts = _facts(text)
    if facts.get("ro.kernel.qemu") == "1" or facts.get("ro.boot.qemu") == "1":
        return "Android emulator"
    if facts.get("ro.hardware") in ("goldfish", "ranchu", "cutf_cvm"):
        return f"Android emulator ({facts['ro.hardware']})"
    family = _family(facts.get("machine", ""))
    alias = re.search(r"type:(\w+)", facts.get("modalias", ""))
    real = alias[1] if alias else facts.get("kernel", "")
    if family and _family(real) and family != _family(real):
        return f"qemu-user ({facts['machine']} on {real})"
    if family == "arm" and "cpuinfo model name" in facts and "cpuinfo CPU implementer" not in facts:
        return f"qemu-user ({facts['machine']} on {facts['cpuinfo model name']})"
    if "TCG" in facts.get("cpuinfo model name", ""):
        return "qemu (TCG)"
    if family == "arm" and "dummy-virt" in facts.get("compatible", "") + facts.get("board", ""):
        return "qemu (virt)"
    return ""


def state_of(text: str) -> DeviceState:
    """A device's state from the output of `STATE`."""
    lines = [line.split(maxsplit=3) for line in text.splitlines()]
    zones = [(int(row[1]), row[2]) for row in lines if row[:1] == ["zone"] and len(row) >= 3 and _is_whole(row[1])]
    heats = [float(value) for value in _HEAT.findall(text)]
    hottest = [value / 1000 for value, kind in zones if _CPU_ZONES.search(kind) and 0 < value < 150_000] or heats
    cpus = [row for row in lines if row[:1] == ["cpu"] and len(row) == 3 and _is_whole(row[1])]
    battery = next((row for row in lines if row[:1] == ["battery"] and len(row) == 4), None)
    dump = dict(re.findall(r"^dump +(level|status|temperature): (-?\d+)$", text, re.MULTILINE))
    status = re.search(r"^heat Thermal Status: (\d+)", text, re.MULTILINE)
    load = re.search(r"^load ([\d.]+)", text, re.MULTILINE)
    percent, charging, tenths = None, None, None
    if battery:
        percent = int(battery[1]) if _is_whole(battery[1]) else None
        charging, tenths = battery[3] == "Charging", battery[2] if _is_whole(battery[2]) else None
    if "level" in dump:
        percent, charging = int(dump["level"]), int(dump.get("status", 0)) == _ANDROID_CHARGING
        tenths = dump.get("temperature")
    return DeviceState(
        battery_percent=percent,
        is_charging=charging,
        battery_celsius=int(tenths) / 10 if tenths is not None else None,
        thermal_status=int(status[1]) if status else None,
        hottest_celsius=max(hottest) if hottest else None,
        governors=tuple(sorted({row[2] for row in cpus})),
        clock_mhz=tuple(int(row[1]) // 1000 for row in cpus),
        load=float(load[1]) if load else None,
    )


@functools.cache
def this_machine() -> Device:
    """The host as its system describes it."""
    return device_of(subprocess.run(["sh", "-c", FACTS], capture_output=True, text=True, errors="replace").stdout)


def usable_cores() -> int:
    """Logical processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_PROCESSOR_KEYS = ("processor", "cpuinfo model name", "cpuinfo Hardware", "board", "cpuinfo Model", "chassis")
_HEAT = re.compile(rf"^heat .*mValue=([\d.]+), mType={_CPU_HEAT},", re.MULTILINE)


def _facts(text: str) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key: value.strip() for key, value in pairs}


def _family(machine: str) -> str:
    if re.match(r"aarch64|arm", machine):
        return "arm"
    return "x86" if re.match(r"x86|i.86|amd64", machine) else ""


def _is_whole(word: str) -> bool:
    return re.fullmatch(r"-?\d+", word) is not None
