"""espeak-ng in a process of its own, for the mini corpora.

The library keeps hidden state (breath noise, flutter) that no call resets: only a fresh process
that is asked the same things in the same order gives the same samples. This file is also that
process, so it imports nothing of the package.
"""

import ctypes
import json
import struct
import subprocess
import sys

import numpy as np

SYNCHRONOUS, UTF8, DONT_EXIT = 2, 1, 0x8000  # espeak-ng/speak_lib.h
RATE, PITCH, RANGE = 1, 3, 4  # espeak_PARAMETER


class Espeak:
    """Context manager around the process; `say` -> samples [time], float, at `sample_rate` Hz."""

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the parent's affair
        )
        (self.sample_rate,) = struct.unpack("<i", self._read(4))
        return self

    def __exit__(self, *exception):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def say(self, text: str, voice: str, rate: int, pitch: int, pitch_range: int) -> np.ndarray:
        """voice e.g. "en-us+f2", rate in words per minute, pitch and range 0-99 (50 is normal)."""
        request = json.dumps([text, voice, {RATE: rate, PITCH: pitch, RANGE: pitch_range}])
        self.process.stdin.write(request.encode() + b"\n")
        self.process.stdin.flush()
        (size,) = struct.unpack("<i", self._read(4))
        return np.frombuffer(self._read(size), "<i2") / 2.0**15

    def _read(self, size: int) -> bytes:
        answer = self.process.stdout.read(size)
        if len(answer) < size:
            raise RuntimeError(f"espeak-ng stopped with exit status {self.process.wait()}")
        return answer


def serve() -> None:
    """Answer the requests on standard input with lengths and 16-bit samples, until it closes."""
    import espeakng_loader

    library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
    data_path = str(espeakng_loader.get_data_path()).encode()
    sample_rate = library.espeak_Initialize(SYNCHRONOUS, 0, data_path, DONT_EXIT)
    if sample_rate <= 0:
        sys.exit(f"espeak-ng cannot read its data in {data_path.decode()}")
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # it seeds itself from the clock
    chunks: list[bytes] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def collect(samples, count, _events):
        if samples and count:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    library.espeak_SetSynthCallback(collect)
    answers = sys.stdout.buffer
    answers.write(struct.pack("<i", sample_rate))
    answers.flush()
    for line in sys.stdin:
        text, voice, parameters = json.loads(line)
        if library.espeak_SetVoiceByName(voice.encode()):
            sys.exit(f"espeak-ng has no voice {voice}")
        for parameter, value in parameters.items():
            library.espeak_SetParameter(int(parameter), value, 0)
        chunks.clear()
        encoded = text.encode()
        library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, UTF8, None, None)
        samples = b"".join(chunks)
        answers.write(struct.pack("<i", len(samples)) + samples)
        answers.flush()


if __name__ == "__main__":
    serve()
