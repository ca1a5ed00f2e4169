"""What the doctor says, as text and as a section of a page."""

from report.runs import COUNTS, judged

from tailwise.report import doctor
from tailwise.report.images import image_report

CHECKS = [
    {
        "name": "tail collapse",
        "severity": "warning",
        "measured": "few 0.0 % of <b>",
        "what": "The rare classes are lost.",
        "advice": "Train with LogitAdjusted.",
        "epoch": 4,
    },
    {"name": "dead queue", "severity": "none", "measured": "queue: 100 %", "what": "w", "advice": "a", "epoch": None},
]


def test_text_has_findings_first_then_what_is_not_there_then_what_was_not_measured() -> None:
    said = doctor.text("runs/a", CHECKS)
    assert said.startswith("runs/a: 1 finding, 2 of 7 known failures looked for\n\nwarning: tail collapse (from epoch 4 on)\n")
    assert said.index("LogitAdjusted") < said.index("dead queue: queue: 100 %") < said.index("not measured: head overfitting")
    assert max(map(len, said.splitlines())) <= 100
    nothing = doctor.text("runs/b", [])
    assert nothing.splitlines()[0] == "runs/b: 0 findings, 0 of 7 known failures looked for"
    assert "and not there" not in nothing


def test_the_page_of_a_run_has_the_section_and_escapes_it() -> None:
    result, _ = judged(COUNTS)
    assert 'id="doctor"' not in image_report(result)  # a result of before the doctor
    page = image_report(result | {"doctor": CHECKS})
    assert page.count('id="doctor"') == page.count('href="#doctor"') == 1
    assert "Tail collapse (from epoch 4 on): few 0.0 % of &lt;b&gt;. The rare classes are lost. Train with" in page
    assert "dead queue: queue: 100 %" in page
    assert "Not measured in this run: head overfitting, temperature runaway, prior applied twice, leaking split" in page
