"""What a spreadsheet would run is guarded in a cell, and read as it was: for any text."""

from hypothesis import given
from hypothesis import strategies as st

from tailwise.data.cells import guarded, unguarded


@given(st.text(st.sampled_from("'= +-@\t\n\ra＝\ufeff"), max_size=5) | st.text(max_size=8))
def test_reading_gives_back_what_was_written(text: str) -> None:
    assert unguarded(guarded(text)) == text
    assert not guarded(text).lstrip().startswith(("=", "+", "-", "@"))
