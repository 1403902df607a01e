"""What a command imports before it does anything."""

import subprocess
import sys

import pytest
from conftest import ROOT

import speechbrain_ser


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("speechbrain_ser", "torch numpy"),
        ("speechbrain_ser.__main__", "torch speechbrain transformers"),
        ("speechbrain_ser.training.experiment", "sklearn matplotlib pandas"),
    ],
)
def test_what_is_not_used_at_once_is_not_imported(module, without):
    code = f"import sys, {module}; print(*sys.modules.keys() & set({without.split()}))"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == []


def test_the_package_s_names_are_there_when_used():
    from speechbrain_ser import Emotion, EmotionRecognizer
    from speechbrain_ser.sharing import inference

    assert (Emotion, EmotionRecognizer) == (inference.Emotion, inference.EmotionRecognizer)
    with pytest.raises(AttributeError, match="'speechbrain_ser' has no attribute 'Emotoin'"):
        _ = speechbrain_ser.Emotoin
