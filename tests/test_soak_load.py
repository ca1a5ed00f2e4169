"""What the soak says of load, of memory over time and of licences: the judges themselves, on cases with known answers."""

import json
import mmap
import subprocess
from pathlib import Path
from typing import Any

import pytest

from soak import audit, flat, licences
from soak.apart import measured
from soak.record import Part


def touched(mib: int) -> mmap.mmap:
    """Memory of its own: an allocator may hand out what it holds already."""
    pages = mmap.mmap(-1, mib * 2**20)
    for at in range(0, len(pages), mmap.PAGESIZE):
        pages[at] = 1
    return pages


def test_memory_is_that_of_the_job_beyond_its_inputs() -> None:
    def make(mib: int) -> Any:
        inputs = touched(64)
        return lambda: len(inputs) + len(touched(mib))

    small, large = measured(make, [20, 80])
    assert small["x"] == 20
    assert 15 < small["MiB"] < 40
    assert 55 < large["MiB"] - small["MiB"] < 65
    assert 0 <= small["seconds"] < 10


@pytest.mark.parametrize(("grows", "kept"), [(0.0, True), (1.0, False)])
def test_growth_is_found_and_noise_is_not(grows: float, kept: bool) -> None:
    samples = [flat.Sample(s / 30, 500 + grows * s / 30 + s % 3, 100) for s in range(900)]
    part = Part("flat", "Memory over time")
    flat.judge(part, "fit", samples, 30)
    assert [promise.kept for promise in part.promises] == [True, kept, True]
    slope, half = flat.growth(flat.by_minute(samples))
    assert slope == pytest.approx(60 * grows, abs=0.5)
    assert half < 1


def test_a_run_that_ended_early_is_missed() -> None:
    part = Part("flat", "Memory over time")
    flat.judge(part, "predict", [flat.Sample(0.5, 100, 0)], 30)
    assert not any(promise.kept for promise in part.promises)


@pytest.mark.parametrize(
    ("stated", "kept"),
    [
        ("MIT", True),
        ("Apache-2.0 WITH LLVM-exception AND (MIT OR GPL-3.0-only)", True),
        ("BSD License", True),
        ("GPL-3.0-only", False),
        ("MIT AND AGPL-3.0-only", False),
        ("GNU General Public License v3 (GPLv3)", False),
        ("", False),
        ("Mozilla Public License 2.0 (MPL 2.0)", False),
    ],
)
def test_only_licences_that_ask_for_credit_pass_unseen(stated: str, kept: bool) -> None:
    assert licences.free(stated) is kept


def test_an_exception_is_for_one_distribution_and_one_licence() -> None:
    assert licences.looked_at("tqdm", "MPL-2.0 AND MIT")
    assert not licences.looked_at("tqdm", "MPL-2.0 AND GPL-3.0-only")
    assert not licences.looked_at("another", "MPL-2.0")
    assert licences.looked_at("nvidia-nccl-cu13", "LicenseRef-NVIDIA-Proprietary")
    assert not licences.looked_at("nvidia-nccl-cu13", "")


def test_an_audit_without_a_list_is_no_all_clear(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def known_by(one: dict[str, Any]) -> None:
        def run(words: list[Any], **_: Any) -> Any:
            Path(words[-1]).write_text(json.dumps({"dependencies": [one]}), encoding="utf-8")
            return subprocess.CompletedProcess(words, 0, "", "No known vulnerabilities found")

        monkeypatch.setattr(audit.subprocess, "run", run)

    known_by({"name": "torch", "skip_reason": "not found"})
    audit.main()
    assert "nothing was audited" in capsys.readouterr().out
    known_by({"name": "torch", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": []}]})
    with pytest.raises(SystemExit, match="True"):
        audit.main()
    assert "torch 1: CVE-1" in capsys.readouterr().out
