"""A corpus by its name, without a recipe."""

import os

from speechbrain_ser import hparams as hp
from speechbrain_ser.campaign import rows
from speechbrain_ser.data.corpora import mini
from speechbrain_ser.errors import InputError

FRAGMENTS = rows.RECIPES / "common"


def manifest_of(
    name: str, data_folder: str | None = None, complete: bool = True
) -> tuple[str, dict[str, dict]]:
    """What a corpus is called, and its manifest, from its folder, SER_<CORPUS>, or synthesised.

    Of the latter the name says so. complete : refuse a corpus of another size than the published
    one, where its fragment states that

    Raises InputError for an unknown name and what its reader refuses.
    """
    path, said = hp.fragment_of(FRAGMENTS, name)
    data_folder = data_folder or os.environ.get(f"SER_{name.upper()}")
    tree = hp.load_tree(path.read_text())
    tree.update(said)
    if not data_folder:
        if name not in mini.LAYOUTS:
            raise InputError(f"give the folder of {name}, or set SER_{name.upper()}, to read it")
        print(f"No folder of {name} and no SER_{name.upper()}: this is synthesised speech.")
        data_folder = str(mini.make(name))
        name, complete = f"mini-{name}", False
    if not complete:
        tree["expected"] = None
    return name, hp.build(hp.resolve(tree, path))["prepare"](data_folder)
