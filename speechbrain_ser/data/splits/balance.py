"""Groups of speakers as alike as the speakers allow."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

UNEVEN = 1.5  # the largest group's size over the smallest's, beyond which it is said


def evened(
    manifest: Mapping[str, dict], group_of: dict[str, int], gender: dict[str, str], n_groups: int
) -> dict[str, int]:
    """Speaker -> group, after the moves and exchanges of speakers that make the groups more alike.

    Groups are compared by their shares of each gender's speakers, of each emotion's utterances and
    of all utterances. The sum of their squares falls with every step, the steepest one first; where
    no step makes it fall the groups stay as they are.
    """
    speakers = list(group_of)
    emotions = sorted({entry["emotion"] for entry in manifest.values()})
    fields = [f"gender {name}" for name in sorted({*gender.values()})]
    fields += [f"emotion {name}" for name in emotions] + ["all"]
    counts = np.zeros((len(speakers), len(fields)))
    for row, speaker in enumerate(speakers):
        counts[row, fields.index(f"gender {gender[speaker]}")] = 1
    rows = {speaker: row for row, speaker in enumerate(speakers)}
    for entry in manifest.values():
        counts[rows[entry["speaker"]], fields.index(f"emotion {entry['emotion']}")] += 1
        counts[rows[entry["speaker"]], -1] += 1
    shares = counts / counts.sum(axis=0)  # [speaker, field]
    own = (shares**2).sum(axis=1)  # [speaker]
    groups = np.array([group_of[speaker] for speaker in speakers])
    while True:
        sums = np.stack([shares[groups == group].sum(axis=0) for group in range(n_groups)])
        toward = shares @ sums.T  # [speaker, group]
        here = toward[range(len(speakers)), groups]
        # what a move of a speaker, or an exchange of two, adds to the sum of squares
        moves = 2 * (toward - here[:, None] + own[:, None])  # [speaker, group]
        moves[range(len(speakers)), groups] = 0
        moves[np.bincount(groups, minlength=n_groups)[groups] == 1] = 0  # no group is left empty
        there = toward[:, groups]  # [speaker, speaker]
        exchanges = there + there.T - here - here[:, None]
        exchanges = 2 * (exchanges + own + own[:, None] - 2 * shares @ shares.T)
        exchanges[groups == groups[:, None]] = 0
        if min(moves.min(), exchanges.min()) > -1e-9:
            return dict(zip(speakers, groups.tolist(), strict=True))
        if moves.min() < exchanges.min():
            speaker, group = np.unravel_index(moves.argmin(), moves.shape)
            groups[speaker] = group
        else:
            pair = list(np.unravel_index(exchanges.argmin(), exchanges.shape))
            groups[pair] = groups[pair[::-1]]


def unevenness(manifest: Mapping[str, dict], groups: Sequence[Collection[str]]) -> str:
    """What speakers of different sizes leave unequal between groups, in words; "" if nothing."""
    parts = [[e for e in manifest.values() if e["speaker"] in group] for group in groups]
    clauses = []
    for emotion in sorted({entry["emotion"] for entry in manifest.values()}):
        lacking = [
            str(number)
            for number, part in enumerate(parts, start=1)
            if all(entry["emotion"] != emotion for entry in part)
        ]
        if lacking:
            who = {e["speaker"] for e in manifest.values() if e["emotion"] == emotion}
            clauses.append(
                f"no {emotion} in group {', '.join(lacking)} (speakers with it: {len(who)})"
            )
    sizes = [len(part) for part in parts]
    speaker, most = Counter(entry["speaker"] for entry in manifest.values()).most_common(1)[0]
    if max(sizes) > UNEVEN * min(sizes):
        clauses.append(
            f"groups hold {min(sizes)} to {max(sizes)} utterances (speaker {speaker} alone has "
            f"{most}), their mean is {len(manifest) / len(groups):.0f}"
        )
    return "; ".join(clauses)
