"""What holds for any value from outside: configurations, overrides, text."""

import json
from dataclasses import asdict

from hypothesis import given, settings
from hypothesis import strategies as st

from ilvr import Configuration
from ilvr.cli import main
from ilvr.model import kinds
from ilvr.settings import overrides
from ilvr.values import printable

from .tiny import CONFIGURATIONS

TINY = asdict(CONFIGURATIONS["unconditional"])
few = settings(max_examples=60, derandomize=True, deadline=None, database=None)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = PLAIN | st.lists(PLAIN, max_size=3) | st.dictionaries(st.text(max_size=3), PLAIN)


@few
@given(st.sampled_from(sorted(kinds())), VALUES | st.integers(1, 64) | st.just([0.1, 0.5]))
def test_a_value_is_kept_as_it_is_or_refused_in_a_sentence(name, value):
    try:
        configuration = Configuration(**TINY | {name: value})
    except ValueError as error:
        said = str(error)
        assert name in said or "image_size" in said
        assert said.isprintable() and 20 < len(said) < 400 and said.endswith(".")
    else:
        assert Configuration(**json.loads(json.dumps(asdict(configuration)))) == configuration
        kept = getattr(configuration, name)
        assert (list(kept) if isinstance(kept, tuple) else kept) == value


@few
@given(st.dictionaries(st.text("abc_", min_size=1), PLAIN.filter(lambda x: x == x)))
def test_overrides_are_read_as_they_are_written(values):
    written = {name: json.dumps(value) for name, value in values.items()}
    assert overrides([f"{name}={text}" for name, text in written.items()]) == values
    assert overrides([f"{name}={value}" for name, value in values.items()
                      if isinstance(value, bool | None)]) == {
        name: value for name, value in values.items() if isinstance(value, bool | None)
    }  # fmt: skip


@few
@given(st.text())
def test_text_reaches_a_terminal_printable_and_once(text):
    shown = printable(text)
    assert shown.isprintable() and printable(shown) == shown
    assert shown == text or not text.isprintable()


def test_the_help_names_every_value_of_set_with_its_bounds(capsys):
    try:
        main(["inspect", "--help"])
    except SystemExit as end:
        assert end.code == 0
    said = capsys.readouterr().out
    assert all(f"{name}: {kind.words.rstrip(',')}\n" in said for name, kind in kinds().items())
