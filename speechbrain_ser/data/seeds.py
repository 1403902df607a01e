"""Random streams that have nothing in common: each depends on a hash of what it is for."""

import hashlib
import random


def seed_of(*key: object) -> int:
    """(seed, epoch, purpose, ...) -> 32 bits, which no other key is likely to give.

    A sum would: seed 1 in epoch 2 would draw what seed 2 draws in epoch 1.
    """
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:4], "big")


def stream(*key: object) -> random.Random:
    """The random numbers of a key."""
    return random.Random(seed_of(*key))
