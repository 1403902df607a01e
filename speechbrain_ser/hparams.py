"""HyperPyYAML files as trees: overrides, what only the run can know, and cutting parts out."""

import difflib
import functools
import inspect
import io
import re
from collections.abc import Callable, Collection, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import hyperpyyaml
import ruamel.yaml
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.tag import Tag

from speechbrain_ser.errors import InputError

REFERENCE = re.compile(r"<(\w+)")  # of !ref <key> and !ref <key[of_it]>


def read(path: Path, corpus: Any = None) -> CommentedMap:
    """The yaml as a tree with its tags, on top of the settings of every run (common/run.yaml).

    corpus : the command line's choice: the name of another corpus than the yaml's own, or a
        mapping {name: ..., <fragment's key>: ...}. A method's split belongs to its own corpus:
        with another one, that corpus' split for the main target is used.
    """
    try:
        tree = load_tree(path.read_text())
    except ruamel.yaml.YAMLError as error:
        raise InputError(f"{path} is not valid yaml: {' '.join(str(error).split())}") from None
    common = load_tree((path.parents[2] / "common" / "run.yaml").read_text())
    for position, (key, value) in enumerate(common.items()):
        if key not in tree:
            tree.insert(position, key, value)
    own = Path(tag_of(tree["corpus"]).removeprefix("!include:"))
    children = CommentedMap(corpus if isinstance(corpus, Mapping) else {"name": corpus or own.stem})
    name = str(children.pop("name", own.stem))
    fragment, said = fragment_of((path.parent / own).parent, name)
    if isinstance(tree["corpus"], Mapping) and name == own.stem:
        children = CommentedMap(tree["corpus"]) | children
    children |= said
    override(load_tree(fragment.read_text()), children, "corpus.")  # refuses unknown keys
    children.yaml_set_ctag(Tag(suffix=f"!include:{own.with_stem(fragment.stem)}"))
    tree["corpus"] = children
    if name != own.stem:
        kind = "speaker" if next(iter(tree["targets"])) == "speaker" else "emotion"
        split = f"split: !ref <corpus[{kind}_split]>"
        tree["split"] = load_tree(split)["split"]
        tree["variant"] = f"_{corpus_title(name, children)}"
    return tree


def command_line(given: str) -> CommentedMap:
    """SpeechBrain's `key: value` lines of a command line as a tree; of a repeated key the last."""
    tree = CommentedMap()
    for line in given.splitlines():
        try:
            tree |= load_tree(line)
        except (ruamel.yaml.YAMLError, TypeError) as error:
            raise InputError(
                f"--{line.replace(':', '', 1)} is not valid yaml ({' '.join(str(error).split())}): "
                "quote it for the shell and for yaml"
            ) from None
    return tree


def corpus_title(name: str, settings: Mapping) -> str:
    """What a corpus is called: its fragment's name and, of a collection, that of the one in it."""
    own = settings.get("corpus")
    return f"{name}-{own}" if own else name


def corpus_stem(tree: Mapping) -> str:
    """The name of the corpus whose fragment the tree includes."""
    stem = Path(tag_of(tree["corpus"]).removeprefix("!include:")).stem
    return tree["corpus"].get("name", stem)


def fragments(folder: Path) -> dict[str, Path]:
    """Each corpus -> its fragment among those of a folder; one may list the `names` of several."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.yaml")):
        if path.stem not in ("mini", "run"):
            text = path.read_text()
            several = re.search("^names:", text, flags=re.MULTILINE)
            found |= dict.fromkeys(load_tree(text)["names"] if several else [path.stem], path)
    return found


def fragment_of(folder: Path, name: str) -> tuple[Path, CommentedMap]:
    """The fragment of a corpus, and what chooses the corpus in a fragment of several.

    Raises InputError for an unknown name.
    """
    known = fragments(folder)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise InputError(f"corpus {name!r} is unknown: use one of {', '.join(sorted(known))}{hint}")
    several = known[name].stem != name
    return known[name], CommentedMap({"name": name, "names": [name]} if several else {})


def load_tree(text: str) -> CommentedMap:
    """A yaml's text as a tree of its own, with its tags and without its comments."""
    return bare(_parsed(text), {})


@functools.lru_cache(maxsize=128)  # the same few files are read for every row of a table
def _parsed(text: str) -> CommentedMap:
    return ruamel.yaml.YAML().load(text) or CommentedMap()


def dump(tree: Mapping) -> str:
    """The tree as text.

    In a list on one line ruamel writes a mapping of one key without braces, and a class' tag
    becomes that of the key. HyperPyYAML's own writing does so, too: hence `bare` puts them on
    lines of their own.
    """
    stream = io.StringIO()
    writer = ruamel.yaml.YAML()
    writer.width = 100
    writer.brace_single_entry_mapping_in_flow_sequence = True
    writer.dump(tree, stream)
    return stream.getvalue()


def override(
    tree: MutableMapping, overrides: Mapping, where: str = "", root: Mapping | None = None
) -> None:
    """Put overrides into the tree, in place; keys that the tree does not have are refused.

    An empty value of a text is the empty text. Arguments without a tag are for the class that is
    there. A bare tag (`--head '!new:module.Class'`) changes the class and keeps the arguments; a
    tag with arguments (`... {dim: 3}`) replaces them all. Targets of which one is new are all.
    """
    root = tree if root is None else root
    for key, value in overrides.items():
        # a class knows its own arguments, and a corpus the names of its emotions
        if key not in tree and not tag_of(tree) and where != "corpus.merge.":
            close = difflib.get_close_matches(str(key), [str(k) for k in tree])
            hint = f"did you mean {close[0]}?" if close else f"use one of {', '.join(tree)}"
            raise InputError(f"there is no setting {where}{key}: {hint}")
        old: Any = tree.get(key)
        tag = tag_of(value)
        named = re.fullmatch(r"<(\w+)>", str(getattr(old, "value", "")))
        if isinstance(value, Mapping) and not tag and named and tag_of(root.get(named[1])):
            raise InputError(
                f"{where}{key} is what {named[1]} describes: set its arguments there, "
                f"--{named[1]} {inline(value)!r}"
            )
        if value is None and isinstance(old, str | TaggedScalar):
            value = ""  # --variant '' is no variant
        if isinstance(value, TaggedScalar) and not value.value and isinstance(old, CommentedMap):
            old.yaml_set_ctag(value.tag)
        elif (
            isinstance(value, Mapping)
            and isinstance(old, MutableMapping)
            and not tag
            and (old or tag_of(old))
            and not (f"{where}{key}" == "targets" and value.keys() - old.keys())
        ):
            override(old, value, f"{where}{key}.", root)
        elif isinstance(value, Mapping) and not tag and tag_of(old).startswith("!new:"):
            tree[key] = CommentedMap(value)  # a class that had no argument so far
            tree[key].yaml_set_ctag(old.tag)
        else:
            tree[key] = value


def inline(value: Any) -> str:
    """A value as it stands behind --key on a command line, tags included."""

    def flow(node: Any) -> None:
        if isinstance(node, CommentedMap | CommentedSeq):
            node.fa.set_flow_style()
            for child in node.values() if isinstance(node, Mapping) else node:
                flow(child)

    tree = CommentedMap(value=bare(value))
    flow(tree["value"])
    writer, stream = ruamel.yaml.YAML(), io.StringIO()
    writer.width = 1_000_000  # one line
    writer.dump(tree, stream)
    return stream.getvalue().removeprefix("value:").strip()


def new(name: str, **arguments) -> CommentedMap:
    """The data of one object: its class' dotted name and its arguments."""
    made = CommentedMap(arguments)
    made.yaml_set_ctag(Tag(suffix=f"!new:{name}"))
    return made


def tag_of(node: Any) -> str:
    return getattr(getattr(node, "tag", None), "value", None) or ""


def resolve(tree: Mapping, path: str | Path, keys: Collection[str] | None = None) -> CommentedMap:
    """The tree with includes and references resolved, without comments.

    keys : what is asked for, which with all that it refers to is resolved alone, and faster
    """
    stream = io.StringIO(dump(tree if keys is None else needed(tree, keys)))
    stream.name = str(path)  # includes are relative to it
    try:
        return bare(load_tree(hyperpyyaml.resolve_references(stream).getvalue()), {})
    except (ValueError, KeyError, FileNotFoundError) as error:
        if lacking := re.search(r'"targets\[(.+?)\]" is not valid', str(error)):
            raise InputError(
                f"{path} learns {lacking[1]}, which targets does not name: name it first, or learn "
                "numbers alone by recipes/RAVDESS/train_dimensions.py hparams/dimensions.yaml"
            ) from None
        raise InputError(f"{path} does not resolve: {error}") from None


def needed(tree: Mapping, keys: Collection[str]) -> CommentedMap:
    """These keys of a tree and those that they refer to, <key>, directly or not."""
    needed: set[str] = set()
    asked = [key for key in keys if key in tree]
    while asked:
        key = asked.pop()
        if key not in needed:
            needed.add(key)
            asked += [name for name in _referred(tree[key]) if name in tree]
    return CommentedMap((key, value) for key, value in tree.items() if key in needed)


def _referred(node: Any) -> list[str]:
    if isinstance(node, Mapping | list):
        children = node.values() if isinstance(node, Mapping) else node
        return [name for child in children for name in _referred(child)]
    return REFERENCE.findall(str(getattr(node, "value", node)))


def bare(node: Any, known: dict[int, Any] | None = None) -> Any:
    """The tree without comments and anchors, tags kept.

    known : original id -> copy, which keeps what the tree shares shared; None makes separate
        copies, so that parts of the tree can be pasted elsewhere
    """
    if known is not None and id(node) in known:
        return known[id(node)]
    copy: CommentedMap | CommentedSeq
    if isinstance(node, Mapping):
        copy = CommentedMap((key, bare(value, known)) for key, value in node.items())
    elif isinstance(node, list):
        copy = CommentedSeq(bare(item, known) for item in node)
        if not any(isinstance(item, Mapping) for item in node):  # see dump
            copy.fa.set_flow_style()
    else:
        return node
    if tag_of(node):
        copy.yaml_set_ctag(node.tag)
    if known is not None:
        known[id(node)] = copy
    return copy


def build(tree: Mapping) -> dict:
    """The objects that a resolved tree describes.

    Raises InputError where a class refuses its arguments, naming the class.
    """
    try:
        return hyperpyyaml.load_hyperpyyaml(dump(tree))
    except InputError:
        raise
    except (ArithmeticError, AttributeError, ImportError, LookupError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"the yaml does not fit its classes ({reason})") from error
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"the yaml does not fit its classes: {error}") from error


def call(key: str, function: Callable, *args, **kwargs) -> Any:
    """What a function that the yaml names with !name: gives.

    Raises InputError if the yaml gives it arguments that it does not have.
    """
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{key} does not fit its arguments ({error}): a bare tag keeps those of the yaml, "
            f"--{key} '!name:... {{}}' replaces them"
        ) from None
    return function(*args, **kwargs)


def plain(node: Any) -> Any:
    """The tree as dicts, lists and scalars, tags as `tag` keys: comparable and JSON-ready."""
    tag = {"tag": tag_of(node)} if tag_of(node) else {}
    if isinstance(node, Mapping):
        return tag | {key: plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain(item) for item in node]
    return tag | {"value": node.value} if isinstance(node, TaggedScalar) else node


def differences(old: Any, new: Any) -> list[str]:
    """What differs between two plain trees, a line each: `lr: 1e-05 there, 3e-05 here`.

    What follows from a difference above it (the same two values again) is left out.
    """
    causes: dict[str, str] = {}

    def walk(old: Any, new: Any, where: str) -> None:
        if isinstance(old, dict) and isinstance(new, dict):
            for key in [*old, *(key for key in new if key not in old)]:
                below = f"{where}.{key}" if where else str(key)
                walk(old.get(key, "absent"), new.get(key, "absent"), below)
        elif old != new:
            causes.setdefault(f"{old} there, {new} here", where)

    walk(old, new, "")
    return [f"{where}: {values}" for values, where in causes.items()]
