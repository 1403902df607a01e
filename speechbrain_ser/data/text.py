"""Transcripts as numbers for CTC: 0 is the blank, and `decode` gives the words back."""

import base64
import io
from collections.abc import Iterable, Sequence

import sentencepiece
from speechbrain.dataio.encoder import CTCTextEncoder

from speechbrain_ser.errors import InputError

BLANK = 0
ENGLISH = "|ETAONIHSRDLUMWCFGYPBVK'XJQZ"  # of facebook/wav2vec2-base-960h; | separates words


class CharTokenizer:
    """A token per character: the 32 symbols of facebook/wav2vec2-base-960h, then more letters.

    letters : of other languages; None: `trained_on` finds them, and the run's settings and best/
        keep them
    """

    def __init__(self, letters: str | None = None):
        self.letters = letters
        self.encoder = CTCTextEncoder()
        self.encoder.add_blank("<pad>")
        for symbol in ("<s>", "</s>"):
            self.encoder.add_label(symbol)
        self.encoder.add_unk("<unk>")
        for symbol in ENGLISH + (letters or ""):
            self.encoder.add_label(symbol)
        self.encoder.expect_len(len(self))

    def trained_on(self, transcripts: Iterable[str]) -> dict[str, str]:
        """Transcripts of the training part -> {"letters": those beyond the English ones}."""
        if self.letters is not None:
            return {}
        return {"letters": "".join(sorted({*"".join(transcripts)} - {*ENGLISH, " "}))}

    def unknown(self, transcripts: Iterable[str]) -> str:
        """The letters in transcripts that are <unk>, sorted."""
        return "".join(sorted({*"".join(transcripts)} - {*ENGLISH, " ", *(self.letters or "")}))

    def __len__(self) -> int:
        return 4 + len(ENGLISH) + len(self.letters or "")

    def encode(self, words: str) -> list[int]:
        """Words in upper case -> tokens; what the vocabulary lacks is <unk>."""
        return self.encoder.encode_sequence(words.replace(" ", "|"))

    def decode(self, tokens: Sequence[int]) -> str:
        """Tokens without blanks and repetitions -> words."""
        symbols = self.encoder.decode_ndim(list(tokens))
        return " ".join("".join(s for s in symbols if s[0] != "<").replace("|", " ").split())


class SentencePieceTokenizer:
    """A token per piece of a word, of a SentencePiece model trained on the training part.

    Arguments
    ---------
    vocabulary : number of pieces
    model : the trained model in base64; None: `trained_on` makes it, and the run's settings and
        best/ keep it

    Raises InputError for a model that cannot be read.
    """

    def __init__(self, vocabulary: int = 100, model: str | None = None):
        self.vocabulary = vocabulary
        self.is_trained = bool(model)
        self.pieces = sentencepiece.SentencePieceProcessor()
        if model:
            try:
                self.pieces.LoadFromSerializedProto(base64.b64decode(model))
            except (ValueError, RuntimeError) as error:
                raise InputError(f"the tokenizer's model cannot be read: {error}") from None

    def trained_on(self, transcripts: Iterable[str]) -> dict[str, str]:
        """Transcripts of the training part -> {"model": it in base64}.

        Raises InputError if they are too few for the vocabulary.
        """
        if self.is_trained:
            return {}
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(sorted(filter(None, transcripts))),
                model_writer=model,
                vocab_size=self.vocabulary,
                model_type="unigram",
                normalization_rule_name="identity",
                bos_id=-1,
                eos_id=-1,
                num_threads=1,
                minloglevel=2,
            )
        except (RuntimeError, StopIteration) as error:
            reason = " ".join(str(error).split()[-25:])
            raise InputError(
                f"no SentencePiece vocabulary of {self.vocabulary} can be made of the training "
                f"transcripts ({reason}): choose another size, or the CharTokenizer"
            ) from None
        return {"model": base64.b64encode(model.getvalue()).decode()}

    def unknown(self, transcripts: Iterable[str]) -> str:
        """The characters in transcripts that no piece holds, sorted."""
        characters = sorted({*"".join(transcripts)} - {" "})
        return "".join(c for c in characters if self.pieces.unk_id() in self.pieces.EncodeAsIds(c))

    def __len__(self) -> int:
        return 1 + self.vocabulary

    def encode(self, words: str) -> list[int]:
        """Words -> tokens."""
        return [1 + piece for piece in self.pieces.EncodeAsIds(words)]

    def decode(self, tokens: Sequence[int]) -> str:
        """Tokens without blanks and repetitions -> words."""
        return " ".join(self.pieces.DecodeIds([token - 1 for token in tokens]).split())
