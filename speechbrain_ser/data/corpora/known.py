"""Published corpora whose file names tell everything: their names, and what is known of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

NOT_STATED = "not stated"


@dataclass(frozen=True, kw_only=True)
class Known:
    """A corpus.

    Attributes
    ----------
    title, citation : its name, and the paper that presents it
    licence : as its publisher states it
    utterances, speakers : of the complete corpus
    language : ISO 639-1 code, or speaker -> code
    example : a recording's path
    shape : regular expression for the last parts of a path, / between them, without its ending.
        <emotion> is one of the emotions' codes; groups may be speaker, gender (f..., m...),
        statement, intensity, repetition and word, and id, the part that names an utterance, where
        that is not the whole
    speaker : who it is, made of groups
    emotions, intensities, sentences : code -> what it means, in RAVDESS' words
    women : of the speakers, where the group gender does not tell; the others are men
    phrase : what is said, made of groups
    split : one of splits with its arguments, where the five groups of speakers are too many
    note : what a user should know
    """

    title: str
    citation: str
    licence: str = NOT_STATED
    utterances: int
    speakers: int
    language: str | Mapping[str, str]
    example: str
    shape: str
    emotions: Mapping[str, str]
    speaker: str = "{speaker}"
    women: Collection[str] | None = None
    intensities: Mapping[str, str] = field(default_factory=dict)
    sentences: Mapping[str, str] = field(default_factory=dict)
    phrase: str = ""
    split: str = ""
    note: str = ""


def codes(text: str) -> dict[str, str]:
    """Pairs code=meaning between blanks."""
    return dict(pair.split("=") for pair in text.split())


CORPORA = {
    "aesdd": Known(
        title="AESDD, Acted Emotional Speech Dynamic Database",
        citation="Vryzas, Kotsakis, Liatsou, Dimoulas and Kalliris 2018, Speech Emotion "
        "Recognition for Performance Interaction, Journal of the Audio Engineering Society 66(6)",
        utterances=604,
        speakers=6,
        language="el",
        example="anger/a01 (1).wav",
        shape=r"<emotion>(?P<statement>[012]\d) \(0?(?P<speaker>\d)\)(?P<repetition>[ab]?)",
        emotions=codes("a=angry d=disgust f=fearful h=happy s=sad"),
        note="genders are unknown",
    ),
    "cafe": Known(
        title="CaFE, Canadian French Emotional speech",
        citation="Gournay, Lahaie and Lefebvre 2018, A Canadian French Emotional Speech Dataset, "
        "ACM Multimedia Systems Conference",
        licence="CC BY-NC-SA 4.0",
        utterances=936,
        speakers=12,
        language="fr",
        example="Colère/Fort/01-C-2-1.wav",
        shape=r"(?P<speaker>0[1-9]|1[0-2])-<emotion>-(?P<intensity>[12])-(?P<statement>[1-6])",
        emotions=codes("C=angry D=disgust J=happy N=neutral P=fearful S=surprised T=sad"),
        women=tuple(f"{number:02}" for number in range(2, 13, 2)),
        intensities=codes("1=low 2=high"),
        sentences={
            "1": "Un cheval fou dans mon jardin",
            "2": "Deux ânes aigris au pelage brun",
            "3": "Trois cygnes aveugles au bord du lac",
            "4": "Quatre vieilles truies éléphantesques",
            "5": "Cinq pumas fiers et passionnés",
            "6": "Six ours aimants domestiqués",
        },
    ),
    "crema_d": Known(
        title="CREMA-D, Crowd-sourced Emotional Multimodal Actors Dataset",
        citation="Cao, Cooper, Keutmann, Gur, Nenkova and Verma 2014, CREMA-D: Crowd-sourced "
        "Emotional Multimodal Actors Dataset, IEEE Transactions on Affective Computing 5(4)",
        licence="Open Database License 1.0",
        utterances=7442,
        speakers=91,
        language="en",
        example="AudioWAV/1001_DFA_ANG_XX.wav",
        # X: so is one of the published files named
        shape=r"(?P<speaker>10(?:0[1-9]|[1-8]\d|9[01]))_(?P<statement>[A-Z]{3})_"
        r"<emotion>_(?P<intensity>LO|MD|HI|XX?)",
        emotions=codes("ANG=angry DIS=disgust FEA=fearful HAP=happy NEU=neutral SAD=sad"),
        women=(
            "1002 1003 1004 1006 1007 1008 1009 1010 1012 1013 1018 1020 1021 1024 1025 1028 1029 "
            "1030 1037 1043 1046 1047 1049 1052 1053 1054 1055 1056 1058 1060 1061 1063 1072 1073 "
            "1074 1075 1076 1078 1079 1082 1084 1089 1091"
        ).split(),
        intensities=codes("LO=low MD=medium HI=high XX= X="),
        sentences={
            "DFA": "Don't forget a jacket",
            "IEO": "It's eleven o'clock",
            "IOM": "I'm on my way to the meeting",
            "ITH": "I think I have a doctor's appointment",
            "ITS": "I think I've seen this before",
            "IWL": "I would like a new alarm clock",
            "IWW": "I wonder what this is about",
            "MTI": "Maybe tomorrow it will be cold",
            "TAI": "The airplane is almost full",
            "TIE": "That is exactly what happened",
            "TSI": "The surface is slick",
            "WSI": "We'll stop in a couple of minutes",
        },
        note="1076_MTI_SAD_XX is silent: --unreadable leave_out goes on without it",
    ),
    "emodb": Known(
        title="EMO-DB, Berlin Database of Emotional Speech",
        citation="Burkhardt, Paeschke, Rolfes, Sendlmeier and Weiss 2005, A Database of German "
        "Emotional Speech, Interspeech",
        utterances=535,
        speakers=10,
        language="de",
        example="wav/03a01Fa.wav",
        shape=r"(?P<speaker>03|08|09|1[0-6])(?P<statement>a0[12457]|b0[1239]|b10)"
        r"<emotion>(?P<repetition>[a-z])",
        emotions=codes("A=fearful E=disgust F=happy L=bored N=neutral T=sad W=angry"),
        women=("08", "09", "13", "14", "16"),
        sentences={
            "a01": "Der Lappen liegt auf dem Eisschrank",
            "a02": "Das will sie am Mittwoch abgeben",
            "a04": "Heute abend könnte ich es ihm sagen",
            "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück",
            "a07": "In sieben Stunden wird es soweit sein",
            "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
            "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter",
            "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes "
            "besucht",
            "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen",
            "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen",
        },
    ),
    "emovo": Known(
        title="EMOVO",
        citation="Costantini, Iaderola, Paoloni and Todisco 2014, EMOVO Corpus: an Italian "
        "Emotional Speech Database, LREC",
        utterances=588,
        speakers=6,
        language="it",
        example="f1/dis-f1-b1.wav",
        shape=r"<emotion>-(?P<speaker>(?P<gender>[fm])[123])-(?P<statement>[bdln]\d)",
        emotions=codes(
            "dis=disgust gio=happy neu=neutral pau=fearful rab=angry sor=surprised tri=sad"
        ),
    ),
    "esd": Known(
        title="ESD, Emotional Speech Dataset",
        citation="Zhou, Sisman, Liu and Li 2021, Seen and Unseen Emotional Style Transfer for "
        "Voice Conversion with a New Emotional Speech Dataset, ICASSP",
        licence="for research only",
        utterances=35_000,
        speakers=20,
        language={f"{number:04}": "zh" if number <= 10 else "en" for number in range(1, 21)},
        example="0011/Angry/0011_000351.wav",
        shape=r"<emotion>/(?:(?:train|test|evaluation)/)?"
        r"(?P<id>(?P<speaker>00(?:0[1-9]|1\d|20))_\d{6})",
        emotions=codes("Angry=angry Happy=happy Neutral=neutral Sad=sad Surprise=surprised"),
        women="0001 0002 0003 0007 0009 0015 0016 0017 0018 0019".split(),
        note="speakers 0001 to 0010 speak Mandarin, 0011 to 0020 English",
    ),
    "jl": Known(
        title="JL Corpus",
        citation="James, Tian and Watson 2018, An Open Source Emotional Speech Corpus for Human "
        "Robot Interaction Applications, Interspeech",
        licence="CC0 1.0",
        utterances=2400,
        speakers=4,
        language="en",
        example="JL(wav+txt)/male1_angry_10a_1.wav",
        shape=r"(?P<speaker>(?P<gender>female|male)[12])_<emotion>_(?P<statement>1?\d[ab])_"
        r"(?P<repetition>[12])",
        emotions=codes(
            "angry=angry anxious=anxious apologetic=apologetic assertive=assertive "
            "concerned=concerned encouraging=encouraging excited=excited happy=happy "
            "neutral=neutral sad=sad"
        ),
        split="by_actor {n_folds: 4}",
        note="of New Zealand; the primary emotions are neutral, happy, sad, angry and excited",
    ),
    "mesd": Known(
        title="MESD, Mexican Emotional Speech Database",
        citation="Duville, Alonso-Valerdi and Ibarra-Zarate 2021, The Mexican Emotional Speech "
        "Database (MESD): Elaboration and Assessment Based on Machine Learning, EMBC",
        licence="CC BY 4.0",
        utterances=862,
        speakers=11,
        language="es",
        example="Anger_C_A_abajo.wav",
        shape=r"<emotion>_(?P<gender>[FMC])_[AB]_(?P<statement>[^/]+)",
        emotions=codes(
            "Anger=angry Disgust=disgust Fear=fearful Happiness=happy Neutral=neutral Sadness=sad"
        ),
        speaker="{gender}",
        split="by_actor {n_folds: 3}",
        note="names tell whether a woman (F), a man (M) or a child (C) speaks, not who of the 11: "
        "those three stand as speakers",
    ),
    "savee": Known(
        title="SAVEE, Surrey Audio-Visual Expressed Emotion",
        citation="Haq and Jackson 2009, Speaker-Dependent Audio-Visual Emotion Recognition, AVSP",
        licence="on request, for research",
        utterances=480,
        speakers=4,
        language="en",
        example="DC_a01.wav or AudioData/DC/a01.wav",
        shape=r"(?P<speaker>DC|JE|JK|KL)[_/]<emotion>(?P<repetition>[0-3]\d)",
        emotions=codes("a=angry d=disgust f=fearful h=happy n=neutral sa=sad su=surprised"),
        women=(),
        split="by_actor {n_folds: 4}",
    ),
    "shemo": Known(
        title="ShEMO, Sharif Emotional Speech Database",
        citation="Mohamad Nezami, Jamshid Lou and Karami 2019, ShEMO: a Large-Scale Validated "
        "Database for Persian Speech Emotion Detection, Language Resources and Evaluation 53(1)",
        licence="free for academic purposes",
        utterances=3000,
        speakers=87,
        language="fa",
        example="female/F01A01.wav",
        shape=r"(?P<speaker>(?P<gender>[FM])\d\d)<emotion>\d{2,3}",
        emotions=codes("A=angry F=fearful H=happy N=neutral S=sad W=surprised"),
    ),
    "subesco": Known(
        title="SUBESCO, SUST Bangla Emotional Speech Corpus",
        citation="Sultana, Rahman, Selim and Iqbal 2021, SUST Bangla Emotional Speech Corpus "
        "(SUBESCO): An Audio-Only Emotional Speech Corpus for Bangla, PLOS ONE 16(4)",
        licence="CC BY 4.0",
        utterances=7000,
        speakers=20,
        language="bn",
        example="F_01_OISHI_S_1_ANGRY_1.wav",
        shape=r"(?P<speaker>(?P<gender>[FM])_\d\d)_[A-Z]+_S_(?P<statement>\d+)_"
        r"<emotion>_(?P<repetition>\d)",
        emotions=codes(
            "ANGRY=angry DISGUST=disgust FEAR=fearful HAPPY=happy NEUTRAL=neutral SAD=sad "
            "SURPRISE=surprised"
        ),
    ),
    "tess": Known(
        title="TESS, Toronto Emotional Speech Set",
        citation="Pichora-Fuller and Dupuis 2010, Toronto Emotional Speech Set (TESS), University "
        "of Toronto",
        licence="CC BY-NC-ND 4.0",
        utterances=2800,
        speakers=2,
        language="en",
        example="OAF_angry/OAF_back_angry.wav",
        # one file of the older speaker is published as OA_bite_neutral
        shape=r"(?P<speaker>[OY]A)F?_(?P<word>[A-Za-z]+)_<emotion>",
        emotions=codes(
            "angry=angry disgust=disgust fear=fearful happy=happy neutral=neutral "
            "ps=surprised sad=sad"
        ),
        speaker="{speaker}F",
        women=("OAF", "YAF"),
        phrase="Say the word {word}",
        split="stratified {}",
        note="two speakers cannot be kept apart in training, validation and test: this split is "
        "speaker-dependent; or test another corpus' model on them, ser cross-corpus",
    ),
    "urdu": Known(
        title="URDU",
        citation="Latif, Qayyum, Usman and Qadir 2018, Cross Lingual Speech Emotion Recognition: "
        "Urdu vs. Western Languages, FIT",
        utterances=400,
        speakers=29,
        language="ur",
        example="Angry/SM1_F10_A010.wav",
        shape=r"(?P<speaker>S(?P<gender>[FM])\d+)_F\d+_<emotion>\d+",
        emotions=codes("A=angry H=happy N=neutral S=sad"),
    ),
}
