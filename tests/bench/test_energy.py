"""Energy meters: files and answers as real machines have them.

The counters of an Intel laptop (also `psys`, and the same package once more, memory-mapped), of a
two-socket AMD server, and what a Raspberry Pi 5 and a Pi 4 answer.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import small_models as models

from edgegolf.bench.bench import BenchOptions, bench
from edgegolf.bench.energy import Pmic, Rapl, energy_of, find_meter, pmic_watts
from edgegolf.bench.result import BenchResult
from edgegolf.deploy import remote_bench
from edgegolf.errors import EdgegolfError
from edgegolf.records import list_from_json, to_json
from edgegolf.report.bench_table import bench_notes, bench_table

ROOM = import_module("edgegolf.bench.bench")  # its name is a function's, too
INTEL = {
    "intel-rapl": {},
    "intel-rapl:0": {"name": "package-0", "energy_uj": 262_143_000_000},
    "intel-rapl:0:0": {"name": "core", "energy_uj": 5},
    "intel-rapl:0:1": {"name": "uncore", "energy_uj": 6},
    "intel-rapl:1": {"name": "psys", "energy_uj": 7},
    "intel-rapl-mmio": {},
    "intel-rapl-mmio:0": {"name": "package-0", "energy_uj": 8},
}
AMD = {
    "intel-rapl:0": {"name": "package-0", "energy_uj": 1_000_000},
    "intel-rapl:0:0": {"name": "core", "energy_uj": 9},
    "intel-rapl:1": {"name": "package-1", "energy_uj": 65_532_000_000},
    "intel-rapl:1:0": {"name": "core", "energy_uj": 9},
}
RANGES = {"intel-rapl:0": 262_143_328_850, "intel-rapl:1": 65_532_610_987}
PI_5 = """ 3V7_WL_SW_A current(0)=0.00195186A
   3V3_SYS_A current(1)=0.12687090A
  DDR_VDDQ_A current(4)=0.00000000A
  VDD_CORE_A current(7)=0.56259000A
   0V8_AON_A current(16)=0.00293040A
 3V7_WL_SW_V volt(8)=3.70720000V
   3V3_SYS_V volt(9)=3.32580900V
  DDR_VDDQ_V volt(12)=0.60329610V
  VDD_CORE_V volt(15)=0.76798460V
   0V8_AON_V volt(19)=0.80175740V
     EXT5V_V volt(24)=5.14158000V
      BATT_V volt(25)=0.00000000V
"""
PI_5_WATTS = (
    0.00195186 * 3.7072 + 0.1268709 * 3.325809 + 0.56259 * 0.7679846 + 0.0029304 * 0.8017574
)
PI_4 = 'error=1 error_msg="Command not registered"\n'


def powercap(folder: Path, zones: dict[str, dict[str, object]]) -> Path:
    for zone, files in zones.items():
        (folder / zone).mkdir(parents=True)
        for name, content in files.items():
            (folder / zone / name).write_text(f"{content}\n")
        (folder / zone / "max_energy_range_uj").write_text(f"{RANGES.get(zone, 100)}\n")
    return folder


def vcgencmd(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    (folder / "vcgencmd").write_text(f"#!/bin/sh\n{body}\n")
    (folder / "vcgencmd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_package_is_counted_once_and_wraps_around(tmp_path: Path) -> None:
    meter = find_meter(powercap(tmp_path, INTEL))
    assert isinstance(meter, Rapl)
    assert meter.name == "RAPL package-0"
    assert meter.joules() == 0
    counter = tmp_path / "intel-rapl:0" / "energy_uj"
    counter.write_text("262143300000\n")
    assert meter.joules() == pytest.approx(0.3)
    counter.write_text("171150\n")  # 28,850 to the end and around
    assert meter.joules() == pytest.approx(0.3 + 0.2)


def test_the_packages_of_a_server_are_added(tmp_path: Path) -> None:
    meter = find_meter(powercap(tmp_path, AMD))
    assert meter.name == "RAPL package-0, package-1"
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("3500000\n")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("1000000\n")
    assert meter.joules() == pytest.approx(2.5 + 0.610987 + 1)


def test_counters_that_only_root_may_read_are_told(tmp_path: Path) -> None:
    zones = powercap(tmp_path, INTEL)
    (zones / "intel-rapl:0" / "energy_uj").unlink()  # root, who runs this, may read anything
    with pytest.raises(EdgegolfError, match="may not be read") as refused:
        find_meter(zones)
    assert "sudo chmod" in (refused.value.hint or "")


def test_the_rails_of_a_raspberry_pi_5_are_added_up() -> None:
    assert pmic_watts(PI_5) == pytest.approx(PI_5_WATTS)  # EXT5V and BATT have no current
    assert pmic_watts(PI_4) is None
    assert pmic_watts("") is None


def test_a_power_chip_is_asked_from_time_to_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vcgencmd(tmp_path / "bin", f"[ $1 = pmic_read_adc ] && echo '{PI_5}'", monkeypatch)
    meter = find_meter(tmp_path)
    assert isinstance(meter, Pmic)
    times = iter((10.0, 12.0, 13.0))
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    meter = Pmic()
    assert meter.joules() == pytest.approx(2 * PI_5_WATTS)
    assert meter.joules() == pytest.approx(3 * PI_5_WATTS)


def test_what_the_idle_machine_takes_is_subtracted(tmp_path: Path) -> None:
    """Resting takes 2 mJ a call, work 2 mJ and what resting takes in that time."""
    meter = find_meter(powercap(tmp_path, AMD))
    counter = tmp_path / "intel-rapl:0" / "energy_uj"
    total = [1_000_000]

    def add(microjoules: int) -> None:
        total[0] += microjoules
        counter.write_text(f"{total[0]}\n")

    found = energy_of(meter, lambda: None, lambda: add(2000), 0.05)
    assert found.joules == pytest.approx(0.002)
    assert (found.idle_watts, found.inferences > 1) == (0, True)
    found = energy_of(meter, lambda: add(1), lambda: add(2000), 0.05)
    assert 0 < found.idle_watts < found.busy_watts
    assert found.joules < 0.002
    with pytest.raises(EdgegolfError, match="waiting"):
        energy_of(meter, lambda: add(2000), lambda: None, 0.05)


def dense(folder: Path, **options: object) -> BenchResult:
    path = models.onnx_dense(folder / "dense.onnx", np.eye(3))
    (result,) = bench([path], BenchOptions(min_time=0.3, warm_up=0, energy=True, **options))
    assert result.error is None
    return result


def test_bench_has_a_row_for_energy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chip that tells more watts each time it is asked."""
    body = f'echo x >> {tmp_path}/n; n=$(wc -l < {tmp_path}/n)\necho "A_A current(0)=${{n}}A"'
    vcgencmd(tmp_path / "bin", f"{body}; echo 'A_V volt(1)=1.5V'", monkeypatch)
    monkeypatch.setattr(ROOM, "POWERCAP", tmp_path)
    result = dense(tmp_path)
    assert result.energy is not None
    assert 0 < result.energy.idle_watts < result.energy.busy_watts
    assert list_from_json(to_json([result]), BenchResult, "x") == (result,)
    assert "energy, µJ" in str(bench_table([result]).rows)
    assert "--energy" in remote_bench._arguments(BenchOptions(energy=True))
    assert any("of which the idle machine takes" in note for note in bench_notes([result]))


def test_a_machine_without_a_meter_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vcgencmd(tmp_path / "bin", f"echo '{PI_4}'; exit 255", monkeypatch)
    monkeypatch.setattr(ROOM, "POWERCAP", tmp_path)
    result = dense(tmp_path)
    assert result.energy is None
    assert json.loads(to_json([result]))[0]["energy"] is None
    (told,) = (each for each in result.warnings if "energy" in each)
    assert told.startswith("energy not measured: there is no energy meter here")
