"""Splits made of another one, `outer`."""

import random
from collections.abc import Callable

from speechbrain_ser.data.splits.entries import (
    Manifest,
    check_share,
    grouped,
    listed,
    only,
    require,
    values,
    without,
)
from speechbrain_ser.data.splits.parts import Parts, check_parts
from speechbrain_ser.errors import InputError


def without_validation(manifest: Manifest, fold: int = 1, *, outer: Callable[..., Parts]) -> Parts:
    """The outer split with its validation part in training; the test part is watched instead.

    For papers that name no validation. `valid` is the test part itself, on which nothing may be
    chosen: a run refuses it unless the last epoch is taken (select_by: last) or the run is
    labelled a replication of what the paper did.
    """
    parts = outer(manifest, fold=fold)
    train = only(manifest, {*parts["train"], *parts["valid"]})
    return {"train": train, "valid": parts["test"], "test": parts["test"]}


def without_sentences(
    manifest: Manifest, fold: int = 1, *, outer: Callable[..., Parts], every: int = 6
) -> Parts:
    """The outer split, of which training and validation hear no test sentence in `every`-th place.

    The corpus' sentences are counted in alphabetical order; each `every`-th is left out of training
    and validation. The test part is outer's: a recogniser shows there what it makes of sentences
    that it knows (`WER_known`), and of others (`WER_new`).

    Raises InputError for a corpus without transcripts, or with fewer than `every` sentences.
    """
    sentences = sorted({entry["words"] for entry in manifest.values()} - {""})
    if not 2 <= every <= len(sentences):
        raise InputError(
            f"the corpus has {len(sentences)} different transcripts, of which every {every} is to "
            f"be left out: set every from 2 to {len(sentences)}"
        )
    held_out = set(sentences[every - 1 :: every])
    parts = outer(manifest, fold=fold)
    heard = {
        part: {i: entry for i, entry in parts[part].items() if entry["words"] not in held_out}
        for part in ("train", "valid")
    }
    return heard | {"test": parts["test"]}


def speaker_identification(
    manifest: Manifest,
    fold: int = 1,
    *,
    outer: Callable[..., Parts],
    valid_share: float = 0.1,
    test_share: float = 0.1,
    seed: int = 1000,
) -> Parts:
    """Closed-set speaker identification inside the training part of the split `outer`.

    Every speaker of `outer(manifest, fold=fold)["train"]` is in train, valid and test, with at
    least one utterance each. No utterance of outer's validation and test parts and no speaker of
    its test part is seen, so a network trained here may serve the emotion network of that fold;
    outer's validation speakers are unseen too if it keeps them out of its own training part.

    Raises InputError if outer tests speakers that it trains on, or a speaker has fewer than
    three utterances.
    """
    for name, share in (("valid_share", valid_share), ("test_share", test_share)):
        check_share(share, name)
    parts = outer(manifest, fold=fold)
    inner = parts["train"]
    require(inner | parts["test"], "speaker")
    known = sorted(set(values(inner, "speaker")) & set(values(parts["test"], "speaker")))
    if known:
        raise InputError(
            f"the outer split trains and tests on the same speakers ({listed(known)}): a speaker "
            "network needs an outer split that keeps them apart"
        )
    generator = random.Random(seed)
    valid, test = set(), set()
    for speaker, utt_ids in grouped(inner, "speaker").items():
        n_valid = max(1, round(valid_share * len(utt_ids)))
        n_test = max(1, round(test_share * len(utt_ids)))
        if n_valid + n_test >= len(utt_ids):
            raise InputError(
                f"speaker {speaker} has {len(utt_ids)} training utterances: {n_valid} for "
                f"validation and {n_test} for test leave none to train on, lower the shares or "
                "leave the speaker out of the manifest"
            )
        drawn = generator.sample(utt_ids, n_valid + n_test)
        valid.update(drawn[:n_valid])
        test.update(drawn[n_valid:])
    return check_parts(
        {
            "train": without(inner, valid | test),
            "valid": only(inner, valid),
            "test": only(inner, test),
        },
        inner,
    )
