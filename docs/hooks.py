"""What the site has beyond this folder: the page of benchmarks, which is written beside its results, and names in code type
that lead to the reference."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from re import Match
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from markdown.preprocessors import Preprocessor
from markdown.util import AtomicString
from mkdocs.structure.files import File, Files

PAGE = "benchmarks.md"
LISTED = ("losses", "metrics", "data", "models", "queue", "posthoc", "export", "survey", "predict")
"""Parts of the package whose ``__all__`` the reference shows; of it, names that are no English word are links."""
AMBIGUOUS = {"ClassBalanced"}
"""A loss and a sampler."""
OTHERS = {
    "tailwise.errors": ("TailwiseError",),
    "tailwise.types": ("IGNORE", "Batch", "DenseOutput", "ExpertOutput", "Model", "Output"),
    "tailwise.task": ("Task",),
    "tailwise.teacher": ("Ema", "Frozen", "Teacher"),
    "tailwise.losses.reweight": ("Reweighted", "class_weights"),
    "tailwise.losses.objective": ("Objective",),
    "tailwise.data.samplers": ("EffectiveNumber", "ProgressivelyBalanced", "Sampler", "Shuffled", "SquareRoot"),
    "tailwise.train.run": ("Run",),
    "tailwise.train.recipe": ("Recipe",),
    "tailwise.predict": ("classify", "segment"),
    "tailwise.priors": ("adjust", "bbse", "em"),
    "tailwise.calibrate": ("Calibration",),
    "tailwise.conformal": ("HeldOut", "Thresholds", "energy", "least_energy", "thresholds"),
    "tailwise.integrations.huggingface": ("TaskHooks", "TrainerTask", "TransformersModel", "shot_metrics"),
    "tailwise.integrations.lightning": ("TaskModule",),
    "tailwise.integrations.sklearn": ("TailwiseClassifier",),
    "tailwise.counts": ("as_counts", "effective_number", "from_labels", "imbalance_factor", "log_prior", "shot_groups"),
    "tailwise.distributed": ("global_mean",),
}
"""Further names, by the module that the reference shows them of."""


def spoken(part: str) -> list[str]:
    """Names of a part that are no English word."""
    return [name for name in import_module(part).__all__ if (name != name.lower() or "_" in name) and name not in AMBIGUOUS]


def place(part: str, name: str) -> str:
    """Where the reference has it: a function that is called like its file only there."""
    return f"{part}.{name}.{name}" if find_spec(f"{part}.{name}") else f"{part}.{name}"


class Names(InlineProcessor):
    """A public name in code type, or a whole path ``tailwise.…``, as a link where the reference has it."""

    def __init__(self, md: Markdown) -> None:
        super().__init__(r"(?<![`\[])`((?:tailwise\.)?\w+(?:\.\w+)*)`(?!`)", md)
        self.known = {name: place(f"tailwise.{part}", name) for part in LISTED for name in spoken(f"tailwise.{part}")}
        self.known |= {name: f"{module}.{name}" for module, names in OTHERS.items() for name in names}

    def handleMatch(self, m: Match[str], data: str) -> tuple[Element | None, int | None, int | None]:  # type: ignore[override]
        """See `InlineProcessor`; None leaves it as it is."""
        target = self.known.get(m[1], m[1] if m[1].startswith("tailwise.") else None)
        if target is None:
            return None, None, None
        link = Element("autoref", identifier=target, optional="")
        SubElement(link, "code").text = AtomicString(m[1])
        return link, m.start(0), m.end(0)


class Colons(Preprocessor):
    """Docstrings end a line with two colons before an equation: one is enough here."""

    def run(self, lines: list[str]) -> list[str]:
        """See `Preprocessor`."""
        return [line.removesuffix(":") if line.endswith("::") else line for line in lines]


class Linked(Extension):
    """Pages and docstrings with `Names` and `Colons`."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Before ordinary code, which has 190."""
        md.inlinePatterns.register(Names(md), "tailwise-names", 195)
        md.preprocessors.register(Colons(md), "tailwise-colons", 0)


def on_config(config: Any) -> Any:
    """Add the extension."""
    config.markdown_extensions.append(Linked())
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the page and its pictures."""
    folder = Path(config.config_file_path).parent / "benchmarks"
    files.append(File.generated(config, PAGE, abs_src_path=str(folder / "README.md")))
    for picture in sorted(folder.glob("results/*.svg")):
        files.append(File.generated(config, f"results/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to it, as they stand in the repository."""
    return markdown.replace("../benchmarks/README.md", PAGE)
