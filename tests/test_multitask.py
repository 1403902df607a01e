"""Gao 2023: heads, reversal, CTC, weights and phases, by hand, by loops and on the mini corpus."""

import csv
import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import RECIPES, TINY, run, script_module, tiny
from torch import nn

from speechbrain_ser import EmotionRecognizer
from speechbrain_ser import hparams as hp
from speechbrain_ser.data import splits
from speechbrain_ser.data.text import BLANK, CharTokenizer, SentencePieceTokenizer
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved, seen
from speechbrain_ser.models.baseline import CnnLstm
from speechbrain_ser.models.encoders import Encoder
from speechbrain_ser.models.losses import reverse_gradient
from speechbrain_ser.models.multitask import (
    AsrHead,
    MultitaskNetwork,
    PooledHead,
    TwoStageNetwork,
)
from speechbrain_ser.results import metrics
from speechbrain_ser.training import multitask_brain
from speechbrain_ser.training.multitask_brain import MultitaskBrain

ASR_GENDER = RECIPES / "IEMOCAP/hparams/asr_gender.yaml"
MULTITASK = RECIPES / "IEMOCAP/hparams/multitask.yaml"
TWO_STAGE = RECIPES / "IEMOCAP/hparams/two_stage.yaml"
LABELS = {"emotion": ["angry", "happy", "sad", "neutral"], "gender": ["F", "M"]}


def network(tasks=("emotion", "asr", "gender"), skip: int | None = None, encoder=None, **settings):
    encoder = encoder or Encoder(TINY, hidden_dropout=0, attention_dropout=0, projection_dropout=0)
    heads = {
        "emotion": PooledHead(encoder.dim, LABELS["emotion"], dropout=0),
        "asr": AsrHead(encoder.dim, CharTokenizer(), dropout=0),
        "gender": PooledHead(encoder.dim, LABELS["gender"], dropout=0, skip=skip is not None),
        "style": PooledHead(encoder.dim, ["impro", "script"], dropout=0),
    }
    return MultitaskNetwork(encoder, heads, tasks, skip_block=skip, **settings)


def speech(items: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return 0.1 * torch.randn(items, 12_000), torch.tensor([1.0, 0.7, 0.4])[:items]


def test_a_reversed_gradient_by_hand():
    values = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    assert torch.equal(reverse_gradient(values), values)
    (reverse_gradient(values, 0.5) ** 2).sum().backward()
    assert values.grad.tolist() == [-1.0, 2.0, -3.0]  # -0.5 times 2 x


@torch.no_grad()
def test_reversal_changes_no_output():
    tasks = ("emotion", "gender")
    plain = network(tasks).eval()
    reversed_ = network(tasks, encoder=plain.encoder, adversarial=["gender"]).eval()
    reversed_.heads.load_state_dict(plain.heads.state_dict())
    outputs = plain.outputs(*speech()), reversed_.outputs(*speech())
    assert all(torch.equal(outputs[0][task], outputs[1][task]) for task in tasks)


def test_adversarial_gradients_by_autograd():
    """The encoder's gradient is emotion's minus lambda times gender's; the heads' are their own."""
    plain = network(("emotion", "gender")).train()
    for module in plain.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model = network(
        ("emotion", "gender"), encoder=plain.encoder, adversarial=["gender"], reversal=0.7
    )
    model.heads.load_state_dict(plain.heads.state_dict())
    targets = {"emotion": torch.tensor([0, 1, 2]), "gender": torch.tensor([0, 1, 0])}
    shared = [p for p in plain.encoder.parameters() if p.requires_grad]

    def gradients(net, task, parameters):
        loss = nn.functional.cross_entropy(net.outputs(*speech())[task], targets[task])
        return torch.autograd.grad(loss, parameters, allow_unused=True)

    emotion, gender = (gradients(plain, task, shared) for task in ("emotion", "gender"))
    outputs = model.outputs(*speech())
    loss = sum(nn.functional.cross_entropy(outputs[task], targets[task]) for task in targets)
    for found, one, other in zip(
        torch.autograd.grad(loss, shared, allow_unused=True), emotion, gender, strict=True
    ):
        if found is not None:
            torch.testing.assert_close(found, one - 0.7 * other, atol=1e-6, rtol=1e-4)
    own = list(model.heads["gender"].parameters())
    expected = gradients(plain, "gender", list(plain.heads["gender"].parameters()))
    for found, one in zip(gradients(model, "gender", own), expected, strict=True):
        torch.testing.assert_close(found, one)


def test_the_skip_head_s_shapes():
    model = network(skip=1).eval()
    assert model.heads["gender"].weight.shape == (2, 32)  # of a base model 2 x 1536
    assert model.heads["emotion"].weight.shape == (4, 16)
    outputs = model.outputs(*speech())
    assert {task: tuple(logits.shape) for task, logits in outputs.items()} == {
        "emotion": (3, 4),
        "asr": (3, 37, 32),
        "gender": (3, 2),
    }
    base = PooledHead(768, ["F", "M"], skip=True)
    assert base.weight.shape == (2, 1536)
    assert AsrHead(768, CharTokenizer()).weight.shape == (32, 768)


@torch.no_grad()
def test_the_skip_reads_block_m_and_the_last_by_hugging_face():
    model = network(skip=1).eval()
    batch, _ = speech(1)
    hidden = model.encoder.model(batch, output_hidden_states=True).hidden_states
    both = torch.cat([hidden[1].mean(dim=1), hidden[2].mean(dim=1)], dim=1)
    expected = nn.functional.linear(both, model.heads["gender"].weight, model.heads["gender"].bias)
    outputs = model.outputs(batch, torch.ones(1))
    torch.testing.assert_close(outputs["gender"], expected)
    emotion = nn.functional.linear(
        hidden[2].mean(dim=1), model.heads["emotion"].weight, model.heads["emotion"].bias
    )
    torch.testing.assert_close(outputs["emotion"], emotion)


@torch.no_grad()
@pytest.mark.parametrize("encoder", [None, CnnLstm(dim=16, channels=8)], ids=["encoder", "CnnLstm"])
def test_a_batch_changes_no_answer(encoder):
    model = network(("emotion", "asr", "gender", "style"), encoder=encoder).eval()
    batch, lens = speech()
    together = model.outputs(batch, lens)
    for item, samples in enumerate((lens * 12_000).round().int().tolist()):
        alone = model.outputs(batch[item : item + 1, :samples], torch.ones(1))
        for task, logits in alone.items():
            found = (
                together[task][item, : logits.shape[1]] if task == "asr" else together[task][item]
            )
            torch.testing.assert_close(found, logits[0], atol=1e-5, rtol=0)


def ctc_by_paths(log_probs: np.ndarray, target: list[int]) -> float:
    """-log of the summed probability of all paths that collapse to the target."""
    total = 0.0
    frames, symbols = log_probs.shape
    for path in np.ndindex(*[symbols] * frames):
        merged = [s for i, s in enumerate(path) if i == 0 or s != path[i - 1]]
        if [s for s in merged if s != BLANK] == target:
            total += np.exp(sum(log_probs[i, s] for i, s in enumerate(path)))
    return -np.log(total)


@pytest.fixture
def brain():
    """A MultitaskBrain without a run."""

    def make(reduction: str = "mean"):
        made = MultitaskBrain.__new__(MultitaskBrain)
        made.hparams = SimpleNamespace(ctc_reduction=reduction)
        made.too_long = set()
        return made

    return make


def tokens_batch(*targets: list[int]) -> SimpleNamespace:
    longest = max(1, *map(len, targets))
    padded = [target + [BLANK] * (longest - len(target)) for target in targets]
    return SimpleNamespace(
        id=[f"utt{i}" for i in range(len(targets))],
        tokens=SimpleNamespace(data=torch.tensor(padded)),
        token_count=torch.tensor([len(target) for target in targets]),
    )


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_ctc_by_all_paths(brain, reduction, caplog):
    """The empty one is left out, and so is the one that is longer than its frames, by name."""
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 3)
    batch = tokens_batch([1, 2], [], [2])
    log_probs = logits.log_softmax(dim=2).double().numpy()
    losses = [ctc_by_paths(log_probs[0], [1, 2]), ctc_by_paths(log_probs[2, :2], [2])]
    expected = {"sum": sum(losses), "mean": (losses[0] / 2 + losses[1] / 1) / 2}[reduction]
    loss = brain(reduction).ctc(logits, torch.tensor([4, 3, 2]), batch)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert not caplog.records
    too_long = tokens_batch([1, 2], [1, 1], [2])  # 1 1 needs 3 frames
    made = brain(reduction)
    for _ in range(2):
        loss = made.ctc(logits, torch.tensor([4, 2, 2]), too_long)
        assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert [record.getMessage()[:4] for record in caplog.records] == ["utt1"]  # once


def test_a_batch_without_words_has_no_ctc_loss(brain):
    logits = torch.randn(3, 4, 3, requires_grad=True)
    loss = brain().ctc(logits, torch.tensor([4, 3, 4]), tokens_batch([], [], []))
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


def test_unknown_targets_count_in_no_loss(brain):
    logits = torch.randn(3, 2)
    outputs = SimpleNamespace(logits=None, tasks={"gender": logits})
    batch = SimpleNamespace(gender_id=torch.tensor([1, -1, 0]))
    known = nn.functional.cross_entropy(logits[[0, 2]], torch.tensor([1, 0]))
    torch.testing.assert_close(brain().loss_of("gender", outputs, batch), known)
    batch.gender_id[:] = -1
    assert brain().loss_of("gender", outputs, batch) == 0


@pytest.mark.parametrize("alpha", [0.1, 0.9])
def test_equation_1_by_hand(alpha):
    brain_class = script_module(RECIPES / "IEMOCAP/train_multitask.py").EmotionTasksBrain
    made = brain_class.__new__(brain_class)
    made.hparams = SimpleNamespace(alpha=alpha)
    losses = {"emotion": 1.5, "asr": 7.0, "gender": 0.6, "style": 0.4}
    made.losses = lambda *_: dict(losses)
    expected = alpha * 1.5 + (1 - alpha) / 3 * (7.0 + 0.6 + 0.4)
    assert made.loss(None, None) == pytest.approx(expected)
    made.losses = lambda *_: {"emotion": 1.5}
    assert made.loss(None, None) == 1.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": ["emotion", "age"]}, "no task 'age': use some of emotion, asr, gender, style"),
        ({"tasks": ["emotion"], "adversarial": ["gender"]}, "and in tasks too"),
        ({"tasks": ["emotion", "asr"], "adversarial": ["asr"]}, "name gender or style"),
        ({"skip": 2}, "skip_block is 2: use one of the inner blocks, 1 to 1"),
    ],
)
def test_mistakes_are_told(settings, message):
    with pytest.raises(InputError, match=message):
        network(**settings)


def test_a_first_phase_names_no_emotion(runs):
    with pytest.raises(InputError, match="this model knows asr, gender, no emotions"):
        EmotionRecognizer.from_hparams(runs / "asr_gender/fold1/1000/best")


def test_the_second_phase_keeps_the_first_one_s_heads():
    first = network(("asr", "gender"), skip=1)
    new = network(("emotion", "asr", "gender", "style"))
    model = TwoStageNetwork(first, dict(new.heads), ("emotion", "gender"), frozen=1)
    assert list(model.heads) == ["emotion", "gender"]
    assert model.heads["gender"] is first.heads["gender"] and model.skip_block == 1
    assert model.heads["emotion"] is new.heads["emotion"]
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert not any("layers.0." in n or "feature" in n or "pos_conv" in n for n in trained)
    assert any("layers.1." in name for name in trained)


def test_the_second_phase_may_have_a_time_mask_of_its_own():
    def second(first_mask: float, **settings) -> TwoStageNetwork:
        encoder = Encoder(TINY, time_mask=first_mask)
        first = network(("asr", "gender"), encoder=encoder)
        return TwoStageNetwork(first, dict(network().heads), ("emotion",), frozen=1, **settings)

    assert second(0.05).encoder.model.config.mask_time_prob == 0.05
    assert second(0.05).encoder.is_masked
    assert not second(0.05, time_mask=0).encoder.is_masked
    assert second(0.05, time_mask=0.2).encoder.model.config.mask_time_prob == 0.2
    assert not second(0, time_mask=0).encoder.is_masked
    with pytest.raises(InputError, match="time_mask is 0.2, and the encoder of the first phase"):
        second(0, time_mask=0.2)


def test_what_is_frozen_is_bit_identical_after_training(runs):
    first = saved.load(runs / "asr_gender/fold1/1000/best")["model"].state_dict()
    second = saved.load(runs / "two_stage/fold1/1000/best")["model"].state_dict()
    frozen = [n for n in first if n.startswith("encoder.") and "layers.1." not in n]
    assert len(frozen) > 20
    assert all(torch.equal(first[name], second[name]) for name in frozen)
    assert not torch.equal(
        first["encoder.model.encoder.layers.1.attention.q_proj.weight"],
        second["encoder.model.encoder.layers.1.attention.q_proj.weight"],
    )


def test_a_first_phase_that_saw_the_test_session_is_refused(runs, tmp_path):
    own = ["--pretrained_best", f"{runs}/asr_gender/fold1/1000/best", "--fold", "2"]
    with pytest.raises(InputError, match="was trained on this fold's test data"):
        run(TWO_STAGE, tiny(TWO_STAGE, tmp_path, *own))


def test_predictions_and_word_error_rate_by_hand(runs):
    folder = runs / "asr_gender/fold1/1000"
    with open(folder / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    manifest = json.loads((folder / "manifest.json").read_text())
    errors = words = 0
    for row in rows:
        assert row["reference"] == manifest[row["id"]]["words"]
        assert row["gender_target"] == manifest[row["id"]]["gender"]
        reference, hypothesis = row["reference"].split(), row["hypothesis"].split()
        errors += distance(reference, hypothesis) if reference else 0
        words += len(reference)
    results = json.loads((folder / "results.json").read_text())
    assert results["WER"] == pytest.approx(100 * errors / words)
    right = metrics.score(
        *[
            [LABELS["gender"].index(r[f"gender_{c}"]) for r in rows]
            for c in ("target", "prediction")
        ],
        LABELS["gender"],
    )
    assert results["UA_gender"] == pytest.approx(right["UA"])
    assert "UA" not in results and "confusion" not in results


def distance(one: list[str], other: list[str]) -> int:
    """Levenshtein's."""
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        row, last = [i], row
        for j, right in enumerate(other, 1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (left != right)))
    return row[-1]


def test_gradient_conflict_does_not_disturb_training(tmp_path):
    logs = {}
    for name in ("True", "False"):
        words = ["--tasks", "[emotion, asr, gender]", "--adversarial", "[gender]"]
        words += ["--log_gradient_conflict", name, "--variant", name]
        run(MULTITASK, tiny(MULTITASK, tmp_path, *words))
        results = json.loads((tmp_path / f"multitask{name}/fold1/1000/results.json").read_text())
        logs[name] = results
        history = (tmp_path / f"multitask{name}/fold1/1000/train_log.txt").read_text()
        assert ("cosine_asr" in history) is (name == "True")
    same = ("WA", "UA", "UA_gender", "WER", "confusion", "best_epoch")
    assert {k: logs["True"][k] for k in same} == {k: logs["False"][k] for k in same}
    rows = logs["True"]["gradient_conflict"]
    assert [row["epoch"] for row in rows] == [1, 2]
    for row in rows:
        assert set(row) == {"epoch", "cosine_asr", "cosine_gender"}
        assert all(-1 <= row[key] <= 1 and row[key] != 0 for key in ("cosine_asr", "cosine_gender"))


def test_gradient_conflict_needs_what_it_compares(tmp_path):
    for words in (["--frozen", "all"], ["--tasks", "[emotion, gender]", "--frozen", "all"]):
        arguments = tiny(MULTITASK, tmp_path, *words, "--log_gradient_conflict", "True")
        with pytest.raises(InputError, match="compares with emotion in a trained encoder"):
            run(MULTITASK, arguments)


def test_the_last_epoch_or_the_best_on_test_as_labelled(tmp_path):
    watched = [
        "--split",
        "!name:speechbrain_ser.data.splits.without_validation "
        "{outer: !name:speechbrain_ser.data.splits.leave_one_session_out {validation: session}}",
    ]
    with pytest.raises(InputError, match="may not be chosen on the test part"):
        run(MULTITASK, tiny(MULTITASK, tmp_path, *watched))
    run(MULTITASK, tiny(MULTITASK, tmp_path, *watched, "--select_by", "last"))
    results = json.loads((tmp_path / "multitask/fold1/1000/results.json").read_text())
    assert results["best_epoch"] == 2 and results["protocol"] == "honest, session-independent"
    (known,) = saved.trained_on(tmp_path / "multitask/fold1/1000/best")
    speakers = [f"Ses0{s}{g}" for s in "12345" for g in "FM"]
    assert seen.among(speakers, known, "speakers") == set(speakers[2:])
    words = [*watched, "--protocol", "replication", "--variant", "_replication"]
    run(MULTITASK, tiny(MULTITASK, tmp_path, *words))
    path = tmp_path / "multitask_replication/fold1/1000/results.json"
    assert json.loads(path.read_text())["protocol"].startswith("replication")


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (["emotion", "style"], r"mine has no style labels.*--tasks '\[emotion\]'"),
        (["asr", "gender"], r"mine has no transcripts.*--tasks '\[gender\]'"),
    ],
)
def test_a_task_without_a_label_is_refused(tasks, message):
    entry = {"emotion": "sad", "gender": "F", "style": "", "words": ""}
    settings = {
        "tasks": tasks,
        "targets": LABELS | {"style": ["impro"]},
        "corpus": {"name": "mine"},
    }
    with pytest.raises(InputError, match=message):
        MultitaskBrain.corpus_settings(settings, {"train": {"a": entry, "b": entry}})
    known = {"train": {"a": entry, "b": entry | {"style": "impro", "words": "YES"}}}
    settings["tokenizer"] = "!new:speechbrain_ser.data.text.CharTokenizer"
    if "asr" not in tasks:
        assert MultitaskBrain.corpus_settings(settings, known) == {}


def test_a_recording_that_is_cut_teaches_no_words(caplog):
    cut = SimpleNamespace(longest=2.0)
    entries = {
        "short": {"words": "A", "duration": 2.0},
        "long": {"words": "A B", "duration": 2.1},
        "silent": {"words": "", "duration": 9.0},
    }
    counts = {
        utt_id: list(multitask_brain._tokens(CharTokenizer(), cut.longest, **entry))[1]
        for utt_id, entry in entries.items()
    }
    assert counts == {"short": 1, "long": 0, "silent": 0}
    MultitaskBrain.tell_cut(cut, {"train": entries, "valid": entries, "test": {}})
    assert "1 training and 0 test recordings are longer than max_seconds, 2," in caplog.text


def test_without_sentences_by_hand():
    manifest = {
        f"{speaker}{number}": {"speaker": speaker, "words": words}
        for speaker in "abc"
        for number, words in enumerate(("ONE", "TWO", "THREE", "FOUR", ""))
    }

    def outer(manifest, fold):
        of = {name: {i: e for i, e in manifest.items() if i[0] == name} for name in "abc"}
        return {"train": of["a"], "valid": of["b"], "test": of["c"]}

    parts = splits.without_sentences(manifest, 1, outer=outer, every=2)
    # FOUR, ONE, THREE, TWO: the second and the fourth are left out; who said nothing stays
    assert list(parts["train"]) == ["a2", "a3", "a4"] and list(parts["valid"]) == ["b2", "b3", "b4"]
    assert list(parts["test"]) == ["c0", "c1", "c2", "c3", "c4"]
    for every in (1, 5):
        with pytest.raises(InputError, match="set every from 2 to 4"):
            splits.without_sentences(manifest, 1, outer=outer, every=every)


def test_word_error_rates_of_known_and_new_sentences_by_hand():
    brain = SimpleNamespace(
        parts={"train": {"t": {"words": "A B C D"}}},
        rows={
            "1": {"reference": "A B C D", "hypothesis": "A B C"},
            "2": {"reference": "E F", "hypothesis": "F F"},
            "3": {"reference": "A B C D", "hypothesis": "A B C D"},
            "4": {"reference": "", "hypothesis": "NOTHING"},
        },
    )
    rates = MultitaskBrain.error_rates_by_sentence(brain)
    assert rates == {"WER_known": 12.5, "WER_new": 50.0}
    del brain.rows["2"]
    assert MultitaskBrain.error_rates_by_sentence(brain) == {}


def test_without_validation_by_hand():
    manifest = {
        f"{s}{i}": {"emotion": "sad", "speaker": s, "session": s, "gender": "F"}
        for s in "abc"
        for i in range(2)
    }
    outer = lambda m, fold: splits.leave_one_session_out(m, fold, validation="session")  # noqa: E731
    parts = splits.without_validation(manifest, 1, outer=outer)
    assert list(parts["train"]) == ["b0", "b1", "c0", "c1"]
    assert parts["valid"] is parts["test"] and list(parts["test"]) == ["a0", "a1"]
    assert splits.protocol(parts) == "session-independent"


def test_sentence_pieces_are_made_of_the_training_part_and_kept(tmp_path):
    pieces = "!new:speechbrain_ser.data.text.SentencePieceTokenizer {vocabulary: 40}"
    run(ASR_GENDER, tiny(ASR_GENDER, tmp_path, "--tokenizer", pieces))
    folder = tmp_path / "asr_gender/fold1/1000"
    model = saved.load(folder / "best")["model"]
    tokenizer = model.heads["asr"].tokenizer
    assert isinstance(tokenizer, SentencePieceTokenizer) and len(tokenizer) == 41
    assert model.heads["asr"].weight.shape == (41, 16)
    manifest = json.loads((folder / "manifest.json").read_text())
    parts = splits.leave_one_session_out(manifest, 1, validation="session")
    transcripts = [entry["words"] for entry in parts["train"].values()]
    again = SentencePieceTokenizer(40).trained_on(transcripts)["model"]
    kept = hp.load_tree((folder / "hyperparams.yaml").read_text())["tokenizer"]["model"]
    assert again == kept
    words = next(entry["words"] for entry in parts["test"].values())
    assert tokenizer.decode(tokenizer.encode(words)) == words
    with pytest.raises(InputError, match="no SentencePiece vocabulary of 5000"):
        SentencePieceTokenizer(5000).trained_on([words])


def six_sentences(manifest, fold=1):
    """A split for the test below: everything is the same six utterances with words."""
    chosen = [utt_id for utt_id, entry in manifest.items() if entry["words"]][::80]
    part = {utt_id: manifest[utt_id] for utt_id in chosen}
    return dict.fromkeys(splits.PARTS, part)


def test_a_network_learns_its_training_sentences_by_heart(tmp_path):
    """A word error rate that stays high elsewhere is then the data's fault, or its amount."""
    words = [str(ASR_GENDER), "--mini", "True", "--results", str(tmp_path), "--noprogressbar"]
    words += ["--split", "!name:test_multitask.six_sentences {}", "--tasks", "[asr]"]
    words += ["--select_by", "last", "--max_epochs", "90", "--batch_size", "6", "--dropout", "0"]
    run(ASR_GENDER, words)
    results = json.loads((tmp_path / "asr_gender/fold1/1000/results.json").read_text())
    assert results["WER"] < 10


def test_characters_are_wav2vec_2_s():
    tokenizer = CharTokenizer()
    assert tokenizer.encode("IT'S A") == [10, 6, 27, 12, 4, 7]
    assert tokenizer.decode([10, 6, 27, 12, 4, 7]) == "IT'S A"
    assert tokenizer.encode("\u00c9") == [3] and tokenizer.decode([1, 2, 3, 4]) == ""
    assert len(tokenizer) == len(tokenizer.encoder) == 32
    assert tokenizer.unknown(["IT'S \u00c9T\u00c9", "\u00d3"]) == "\u00c9\u00d3"


def test_letters_of_other_languages_come_from_the_training_transcripts():
    polish = "ZA\u017b\u00d3\u0141\u0106 G\u0118\u015aL\u0104 JA\u0179\u0143"  # all nine of them
    assert CharTokenizer().trained_on(["IT'S A", ""]) == {"letters": ""}
    found = CharTokenizer().trained_on(["ALA MA KOTA", polish])
    assert found == {"letters": "\u00d3\u0104\u0106\u0118\u0141\u0143\u015a\u0179\u017b"}
    tokenizer = CharTokenizer(**found)
    assert len(tokenizer) == 41 and tokenizer.encode("\u00d3\u0104") == [32, 33]
    assert tokenizer.decode(tokenizer.encode(polish)) == polish
    assert tokenizer.encode("IT'S A") == CharTokenizer().encode("IT'S A")
    assert tokenizer.trained_on([polish]) == {}, "a trained one stays as it is"
    assert tokenizer.unknown([polish]) == ""
    tree = hp.load_tree("tokenizer: !new:speechbrain_ser.data.text.CharTokenizer  # no arguments")
    hp.override(tree, {"tokenizer": found})
    assert len(hp.build(hp.resolve(tree, "x.yaml"))["tokenizer"]) == 41


def test_unmeasured_choices_are_named(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with pytest.raises(InputError, match="select_by is 'UA', which is not measured: use one of"):
        run(ASR_GENDER, tiny(ASR_GENDER, tmp_path, "--select_by", "UA"))
