"""Tables without formulas and lines without control characters."""

import pytest

from speechbrain_ser import output
from speechbrain_ser.errors import InputError
from speechbrain_ser.results import report


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((f"{first}a", f"'{first}a") for first in "=+-@\t\r'"),
        *((value, value) for value in ("a=b", "", "-1.5", "+2e-3", "a\rb", -2.5, None, 7)),
    ],
)
def test_text_that_would_start_a_formula_is_quoted_and_read_back(value, expected, tmp_path):
    assert output.cell(value) == expected
    path = tmp_path / "t.csv"
    path.write_bytes(output.as_csv(["id", str(value)], [["x", value], ["y", 1]]).encode())
    text = "" if value is None else str(value)
    assert output.read_csv(path) == [{"id": "x", str(value): text}, {"id": "y", str(value): "1"}]


def test_a_sentence_obeys_no_control_character():
    assert str(InputError("\x1b[2Ja.wav\r is bad:\nb")) == "\\x1b[2Ja.wav\\r is bad:\nb"
    assert output.printable("Grüße \u202e\udcff\x9b") == "Grüße \\u202e\\udcff\\x9b"


@pytest.mark.parametrize(
    "label", ["/etc", "~", "~anna", "id", "target", "prediction", "a\x1b", "a\nb"]
)
def test_labels_that_mean_something_else_are_refused(label):
    report.refuse_labels({"emotion": ["sad", "a/b", "ids"], "gender": ["F", "M"]})
    for targets in ({"emotion": ["sad", label]}, {"emotion": ["sad"], "speaker": [label]}):
        with pytest.raises(InputError, match="cannot be a label"):
            report.refuse_labels(targets)
