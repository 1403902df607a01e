"""The rows of RESULTS.csv that the first pages show: what was measured, what each idea gains."""

from speechbrain_ser.campaign import rows

IDEAS = {  # a row that differs in one idea from the row that it is held against: paper, idea
    "park2023/EmoBox-folds-whisper-tiny.en-fine-tuned/fused-speaker-network-frozen": (
        "Park 2023",
        "a speaker network beside the emotion network",
    ),
    "pepino2021/EmoBox-folds-whisper-tiny.en-frozen/trained-average-of-layers": (
        "Pepino 2021",
        "a trained average of all layers instead of the last one",
    ),
    "combined/EmoBox-folds/whisper-base-layers-averaged": (
        "Pepino 2021",
        "a trained average of layers instead of layers side by side",
    ),
    "gao2023/by-speaker-whisper-tiny.en-fine-tuned/asr+gender-then-emotion": (
        "Gao 2023",
        "speech recognition and gender first",
    ),
    "gavali/EmoBox-folds-whisper-tiny.en-fine-tuned/soft-vote-of-park-s-network-wang-s-s1-and-s2": (
        "Gavali & Verma",
        "a vote of three networks",
    ),
    "wang2023/EmoBox-folds-whisper-tiny.en-fine-tuned/s2-and-contrastive-loss": (
        "Wang 2023",
        "a contrastive loss",
    ),
}

GAIN = ("gain", "gain_low", "gain_high")  # columns of RESULTS.csv


def interval(row: dict) -> str:
    """The 95 % interval of a row's UA, empty where it has none."""
    return f"{row['UA_low']} to {row['UA_high']}" if row.get("UA_low") else ""


def gained(row: dict) -> str:
    """What a row's UA is above that of the row `against`, with its interval."""
    if not row.get("gain"):
        return ""
    return f"{row['gain']} ({row['gain_low']} to {row['gain_high']})"


def measured() -> str:
    """The rows with a headline and a number of ours: a markdown table."""
    lines = [
        "| method | corpus | WA | UA | 95 % interval | UA gained |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in rows.named().values():
        if row["UA"] and row["headline"]:
            cells = (row["headline"], row["corpus"], row["WA"], row["UA"])
            lines.append(f"| {' | '.join(cells)} | {interval(row)} | {gained(row)} |")
    return "\n".join(lines)


def ideas() -> dict[str, tuple[str, str, dict, dict]]:
    """Name of a row with a gain -> its paper, its idea, the row, and the row without the idea.

    One row for each paper: the first of IDEAS that was run.
    """
    known = rows.named()
    found: dict[str, tuple[str, str, dict, dict]] = {}
    for name, (paper, idea) in IDEAS.items():
        row = known[name]
        if row["gain"] and paper not in {other for other, *_ in found.values()}:
            found[name] = (paper, idea, row, known[row["against"]])
    return found


def idea_table() -> str:
    """What each paper's idea gains on real speech: a markdown table of pooled UA, and its commands.

    The gain is that over the folds and seeds which both rows have.
    """
    lines = [
        "| paper | idea | corpus | without | with | gained (95 %) |",
        "|---|---|---|---:|---:|---:|",
    ]
    for paper, idea, row, without in ideas().values():
        cells = (paper, idea, row["corpus"], without["UA_pooled"], row["UA_pooled"], gained(row))
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "<!-- needs a corpus -->", "```bash"]
    lines += [f"ser cross-validate --row {name}" for name in ideas()]
    return "\n".join([*lines, "```"])
