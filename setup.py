"""Installation: pip install -e .

Extras: mini, egemaps, demo, onnx, loggers, ray, slurm, docs, dev.
"""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
FACE = (HERE / "speechbrain_ser/__init__.py").read_text(encoding="utf-8")
DOCS = ("mkdocs>=1.6,<2", "mkdocs-material>=9.5,<10")


class BuildWithRecipes(build_py):
    """A wheel holds the recipes' scripts, yamls and rows, too: they stand beside the package."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for pattern in ("*/*.py", "*/hparams/*.yaml", "common/*.yaml", "*/RESULTS.csv"):
            for path in sorted((HERE / "recipes").glob(pattern)):
                place = Path(self.build_lib) / "speechbrain_ser" / path.relative_to(HERE)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)


setup(
    cmdclass={"build_py": BuildWithRecipes},
    name="speechbrain-ser",
    version=re.search('^__version__ = "(.+)"', FACE, flags=re.MULTILINE)[1],
    description="Speech emotion recognition with SpeechBrain: five papers as recipes",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=["speechbrain_ser", "speechbrain_ser.*"]),
    entry_points={"console_scripts": ["ser = speechbrain_ser.__main__:main"]},
    package_data={
        "speechbrain_ser": ["py.typed"],
        "speechbrain_ser.results": ["templates/*"],
        "speechbrain_ser.sharing": ["templates/*", "default/*"],
    },
    install_requires=[
        "torch>=2.11,<2.12",
        "torchaudio==2.11.0",  # of torch's own release; 2.11.1 does not load with torch 2.11
        "speechbrain>=1.1.2,<1.2",
        "transformers>=5,<6",
        "hyperpyyaml>=1.2.3",
        "sentencepiece>=0.2.3",  # below 0.2.1 a model file could write out of bounds
        "ruamel.yaml>=0.17.28,<0.19",
        "safetensors",
        "huggingface_hub",
        "soundfile>=0.12",
        "numpy",
        "scikit-learn",
        "scipy",
        "matplotlib",
        "filelock",
        *("jinja2", "packaging"),  # which torch and transformers need, too
        "tqdm",
    ],
    extras_require={
        "mini": ["espeakng-loader"],  # GPL-3.0: only to synthesise the mini corpora
        "egemaps": ["opensmile>=2.5,<3"],  # free for research, not for commercial products
        "demo": ["gradio>=6.31,<7"],
        "loggers": ["tensorboard", "wandb"],
        "onnx": ["onnx>=1.17", "onnxruntime>=1.23", "onnxscript>=0.5"],
        "parquet": ["pyarrow"],
        "ray": ["ray[data]>=2.9"],
        "slurm": ["submitit>=1.5"],
        "docs": [*DOCS],
        "dev": [
            *("pytest", "pytest-cov>=7", "pytest-xdist", "pre-commit", "wheel"),
            *("ruff", "mypy", "yamllint"),
            *("gradio>=6.31,<7", "onnxruntime>=1.23", "onnxscript>=0.5"),
            *("ray[data]>=2.9", "submitit>=1.5", "tensorboard", "wandb"),
            *DOCS,
        ],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3",
        "Topic :: Multimedia :: Sound/Audio :: Speech",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
