"""Every recipe's step and answer on a CUDA device that is not there: see pretended_cuda."""

import contextlib
import itertools
from types import SimpleNamespace

import pytest
import torch
from conftest import YAMLS, earlier, run, tiny
from pretended_cuda import pretended
from speechbrain import Stage

from speechbrain_ser import EmotionRecognizer
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import frontends
from speechbrain_ser.training.brain import SerBrain

OURS, BACK = "speechbrain_ser", "speechbrain/core.py"
EVERYWHERE = {  # who may wait for the GPU in any recipe, and why
    "step": {
        (BACK, "fit_batch"): "the loss goes into the running mean, once an update",
        (f"{OURS}/training/loop.py", "check_gradients"): "one question about all gradients",
    },
    "test": {
        (BACK, "evaluate_batch"): "the loss of a batch",
        (f"{OURS}/results/answers.py", "wanted"): "the targets, for the scores",
        (f"{OURS}/training/brain.py", "record"): "the logits, for the scores",
    },
    "use": {(f"{OURS}/sharing/inference.py", "classify_batch"): "the answer"},
}
WAV2VEC2 = "transformers/models/wav2vec2/modeling_wav2vec2.py"
MASKS = {
    (WAV2VEC2, "_compute_mask_indices"): "SpecAugment draws its masks on the CPU, by the lengths",
    (WAV2VEC2, "_mask_hidden_states"): "and Hugging Face puts them in by a mask",
}
SAME = {(f"{OURS}/models/emotion.py", "same_cnn"): "once, where train or eval is called"}
CTC = {
    (f"{OURS}/training/multitask_brain.py", "ctc"): "which utterances have an ASR loss",
    ("speechbrain/nnet/losses.py", "ctc_loss"): "CTC takes its lengths from the CPU",
}
NEIGHBOURS = {
    (f"{OURS}/models/knn.py", "answer"): "k is part of the model",
    (f"{OURS}/models/knn.py", "_nearest"): "queries whose neighbours rounding might decide",
}
MEMBERS = {
    (f"{OURS}/models/ensemble.py", "probs"): "each member's reader cuts each recording anew",
    (f"{OURS}/data/waveforms.py", "refuse_no_numbers"): "as the reader does",
    (f"{OURS}/data/waveforms.py", "alone"): "as the reader does",
    (f"{OURS}/data/waveforms.py", "_is_silent"): "as the reader does",
}
TRIM = {(f"{OURS}/data/lengths.py", "trim"): "recordings one by one, without their padding"}
SMILE = {(f"{OURS}/models/frontends.py", "_descriptors"): "openSMILE computes on the CPU"}
ALONE = {(f"{OURS}/models/speaker.py", "encode"): "ECAPA-TDNN takes recordings one by one"}
OWN = {  # yaml and way: who waits there beside
    ("asr_gender", "step"): CTC,
    ("asr_gender", "test"): CTC
    | {
        (f"{OURS}/training/multitask_brain.py", "record"): "genders, for the scores",
        ("speechbrain/decoders/ctc.py", "ctc_greedy_decode"): "words are texts",
    },
    ("multitask", "step"): MASKS,
    ("member", "step"): MASKS,
    ("supcon", "step"): {
        (f"{OURS}/data/augment.py", "apply"): "recordings are augmented at their own lengths",
        (f"{OURS}/data/augment.py", "shift"): "torch.istft looks at its window",
    },
    **dict.fromkeys([("fusion", way) for way in EVERYWHERE], SAME),
    **dict.fromkeys([("knn", "test"), ("knn", "use")], NEIGHBOURS),
    **dict.fromkeys([("ensemble", "test"), ("ensemble", "use")], MEMBERS),
    **dict.fromkeys([("speaker_ecapa", "test"), ("speaker_ecapa", "use")], TRIM | ALONE),
    ("probe_egemaps", "use"): TRIM | SMILE,
}
IDS = [f"{y.parts[-3]}-{y.stem}" for y in YAMLS]


def test_a_tensor_elsewhere_is_refused_in_both_directions():
    layer = torch.nn.Linear(4, 3)
    with pretended():
        layer.to("cuda")
        speech = torch.randn(5, 4)
        with pytest.raises(RuntimeError, match="two different devices"):
            layer(speech)
        outputs = layer(speech.to("cuda"))
        assert outputs.device.type == "cuda"
        outputs.sum().backward()
        assert layer.weight.grad.is_cuda
        with pytest.raises(RuntimeError, match="two different devices"):
            layer.weight.grad + torch.ones(3, 4)
        with pytest.raises(TypeError, match="cuda"):
            outputs.detach().numpy()


@pytest.mark.parametrize(
    "question",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.sum() > 0),
        lambda x: x.tolist(),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x.cpu(),
        lambda x: x.to("cpu"),
        lambda x: torch.equal(x, x),
        lambda x: x.masked_select(x > 0),
        lambda x: x.__setitem__(x > 0, x[:1]),
    ],
)
def test_a_question_to_the_gpu_is_seen(question):
    with pretended() as gpu:
        values = torch.randn(6, device="cuda")
        values[values > 0] = 0.0
        assert torch.where(values > 0, values, 1.0).softmax(0).is_cuda and not gpu.waits
        question(values)
        assert gpu.waits
        gpu.waits = set()
        question(torch.randn(6))
        assert not gpu.waits


class OneThread(contextlib.nullcontext):
    """A ThreadPoolExecutor that has no threads."""

    def __enter__(self):
        return SimpleNamespace(map=map)


class Enough(Exception):
    """What was to be seen of a run has been seen."""


def seen(yaml, words, look) -> None:
    """Build a run, and look at its Brain and loaders {train, valid, test} in the place of it."""
    loaders = {}

    def fit(brain, epochs, train, valid):
        loaders.update(train=train, valid=valid)

    def evaluate(brain, test):
        look(brain, loaders | {"test": test})
        raise Enough

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Enough):
        patch.setattr(SerBrain, "fit", fit)
        patch.setattr(SerBrain, "evaluate", evaluate)
        patch.setattr(frontends, "ThreadPoolExecutor", OneThread)  # modes are a thread's own
        run(yaml, [*words, "--batch_size", "4", "--test_batch_size", "2"])


def move(brain, gpu) -> None:
    """Put a Brain on the GPU, as --device cuda would."""
    brain.device = "cuda"
    for tensor in itertools.chain(brain.modules.parameters(), brain.modules.buffers()):
        gpu.take(tensor)
    if hasattr(brain, "statistics"):  # of a probe's groups
        brain.normalise(brain.parts)


@pytest.mark.parametrize("yaml", YAMLS, ids=IDS)
def test_a_recipe_computes_on_cuda(yaml, request, tmp_path):
    words = tiny(yaml, tmp_path)
    if earlier(yaml, tmp_path):
        words += earlier(yaml, request.getfixturevalue("runs"))
    waits = {}

    def look(brain, loaders):
        if "train" not in loaders:
            brain.on_evaluate_start()
        batches = {part: next(iter(loader)) for part, loader in loaders.items()}
        with pretended() as gpu:
            move(brain, gpu)
            for way, part in (("step", "train"), ("test", "test"), ("use", None)):
                gpu.waits = set()
                WAYS[way](brain, batches.get(part))
                waits[way] = gpu.waits

    seen(yaml, words, look)
    for way, found in waits.items():
        own = OWN.get((yaml.stem, way), {}).keys()
        assert found - own <= EVERYWHERE[way].keys(), way
        assert own <= found, way  # or the list is out of date


def train(brain, batch):
    """An update, as SpeechBrain's loop makes it; none where nothing is trained."""
    if batch is None:
        return
    brain.on_fit_start()
    brain.on_stage_start(Stage.TRAIN, 1)
    brain.modules.train()
    brain.step, brain.nonfinite_count = 1, 0
    brain.update_average(brain.fit_batch(batch), 0.0)


@torch.no_grad()
def evaluate(brain, batch):
    brain.modules.eval()
    brain.on_stage_start(Stage.TEST)
    brain.update_average(brain.evaluate_batch(batch, Stage.TEST), 0.0)


def classify(brain, _):
    """Two recordings in use, unless the model names no emotions."""
    parts = {"labels": brain.labels, "reader": brain.hparams.reader}
    model = brain.modules.model
    try:
        model.head  # noqa: B018 - InputError for a first phase
    except InputError:
        return
    recognizer = EmotionRecognizer(
        modules={"model": model}, hparams=parts, run_opts={"device": "cuda"}
    )
    speech = [torch.randn(16000), torch.randn(20000)]
    recognizer._probs(speech)


WAYS = {"step": train, "test": evaluate, "use": classify}
