"""How runs become verdicts on a claim: pairs by seed, the rarest group, and an interval that must leave 0 out."""

from typing import Any

import pytest

from benchmarks import claims_page
from benchmarks.claims import ARMS, BEYOND, CLAIMS, Claim, compare, value, verdict
from benchmarks.claims_page import BEGIN, END, claims, render
from tailwise.train.parse import shipped

TIGHTER = Claim("tighter", "elm", "la", "test", "spread", "tail", -1)


def interval(number: float) -> dict[str, float]:
    return {"value": number, "low": number, "high": number, "classes": 2}


def study(all_: float, few: float | None, medium: float = 0.5) -> dict[str, Any]:
    groups = {"all": interval(all_), "many": interval(0.9), "medium": interval(medium), "few": few and interval(few)}
    return {"test": {"spread": groups}}


def test_every_arm_is_a_shipped_recipe_and_every_claim_speaks_of_two_arms() -> None:
    assert {f"claims/{arm}" for arm in ARMS} == {name for name in shipped() if name.startswith("claims/")}
    assert {arm for claim in CLAIMS for arm in (claim.arm, claim.control)} == set(ARMS)


def test_the_tail_is_the_rarest_group_that_has_classes() -> None:
    assert value(study(0.4, 0.7), "test", "spread", "tail") == 0.7
    assert value(study(0.4, None), "test", "spread", "tail") == 0.5
    assert value(study(0.4, None), "test", "spread", "few") is None
    assert value(study(0.4, 0.7), "test", "spread", "all") == 0.4
    assert value(study(0.4, 0.7), "test", "spread", BEYOND) == pytest.approx(0.7 - 0.9)


@pytest.mark.parametrize(
    ("differences", "sign", "expected"),
    [
        ((-0.1, -0.11, -0.09), -1, "held"),
        ((0.1, 0.11, 0.09), -1, "**reversed**"),
        ((-0.1, -0.3, 0.02), -1, "open"),
        ((-0.1, -0.2, -0.02), -1, "open"),  # one sign in all three is not enough
        ((-0.1,), -1, "open: one seed"),
    ],
)
def test_a_claim_is_decided_where_the_interval_of_its_mean_difference_leaves_zero_out(
    differences: tuple[float, ...], sign: int, expected: str
) -> None:
    assert verdict(differences, sign) == expected


def test_differences_are_paired_by_seed_and_a_missing_run_leaves_its_seed_out() -> None:
    studies = {
        "elm": {0: study(0.4, 0.30), 1: study(0.4, 0.41), 2: study(0.4, 0.1)},
        "la": {1: study(0.4, 0.61), 0: study(0.4, 0.50)},
    }
    found = compare(TIGHTER, studies)
    assert found is not None
    assert found["seeds"] == 2
    assert found["difference"] == pytest.approx(-0.2)
    assert found["ours"] == pytest.approx(0.355)
    assert found["sd"] == pytest.approx(0, abs=1e-12)
    assert found["verdict"] == "held"
    assert compare(TIGHTER, {"elm": studies["elm"]}) is None


def test_a_claim_has_one_row_with_a_column_for_each_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims_page, "CLAIMS", [TIGHTER._replace(group="all"), TIGHTER])
    both = {"0": study(0.4, 0.3), "1": study(0.5, 0.4)}, {"0": study(0.6, 0.2), "1": study(0.7, 0.31)}
    (row,) = claims(dict(zip(("elm", "la"), both, strict=True)))
    assert row["arms"] == "ELM − LA"
    assert (row["all"], row["many"]) == ("-0.200 ± 0.000 (0.450, 0.650): held", "")
    assert row["tail"] == "+0.095 ± 0.007 (0.350, 0.255): **reversed**"


def test_the_page_keeps_its_words_and_takes_new_figures() -> None:
    record = {
        "command": "python -m benchmarks.claims OUT cifar10=DATA",
        "date": "2026-01-01",
        "hardware": {"cpu": "a processor", "cores": 2, "threads": 1},
        "versions": {"torch": "2"},
        "data": {"train_counts": [10, 1], "epochs": 3},
        "results": {"elm": {"0": {"balanced": 0.5, "many": None, "medium": 0.4, "few": 0.25}}},
        "studies": {},
    }
    page = render(f"words\n{BEGIN}\nold\n{END}\nmore\n", [("cifar10", record)])
    assert page.startswith("words\n")
    assert page.endswith("more\n")
    assert "old" not in page
    assert "| ELM | 1 | 50.0 | n/a | 40.0 | 25.0 |" in page
    assert "11 training images in 2 classes, 10 to 1 each, 3 epochs" in page
