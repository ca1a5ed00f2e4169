"""What reads files that may come from anybody, each as a function of one file's bytes, with valid files to begin from."""

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from lightning.pytorch import LightningModule
from PIL import Image

from soak import mutations
from soak.mutations import Inner
from tailwise.cli import main
from tailwise.data import open_source
from tailwise.data.checks import Sample, decoded
from tailwise.data.pixel_looks import Pair, look_at_pairs
from tailwise.data.pixels import EncodedMasks, class_table
from tailwise.data.source import Encoded, Split
from tailwise.data.sources.annotations import read_annotations
from tailwise.models.published import convert
from tailwise.models.weights_file import read_tensors
from tailwise.predict import classify
from tailwise.predict.inputs import inputs
from tailwise.predict.targets import fixed
from tailwise.report.geometry import renew
from tailwise.survey.look import look
from tailwise.train import checkpoint, fit, needs, parse
from tailwise.train.study import write_study


class Reader(NamedTuple):
    """A reader: valid contents, what is inside of each, and the function that must read or refuse any other."""

    seeds: list[bytes]
    inner: Inner
    read: Callable[[bytes, Path], object]


class Refused(Exception):
    """The command said why, in one line, and ended with 2."""


def picture(kind: str, mode: str = "RGB", seed: int = 0, **options: Any) -> bytes:
    """A small image of noise."""
    out, noise = io.BytesIO(), np.random.RandomState(seed)
    pixels = Image.fromarray(noise.randint(0, 256, (24, 20, 3), dtype=np.uint8)).convert(mode)
    pixels.save(out, kind, **options)
    return out.getvalue()


def mask(bits: int = 8, seed: int = 0) -> bytes:
    """Class numbers 0 to 2."""
    out, numbers = io.BytesIO(), np.random.RandomState(seed).randint(0, 3, (24, 20))
    Image.fromarray(numbers.astype(np.uint8 if bits == 8 else np.uint16)).save(out, "PNG")
    return out.getvalue()


def readers(folder: Path) -> dict[str, Reader]:
    """All of them; trains one small run in ``folder`` for the files of a run."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run = fit("digits", objective="LogitAdjusted", out=folder / "run", epochs=1, overrides=_SMALL)
        write_study(run, 100)
    for i in range(6):
        (folder / f"{i}.png").write_bytes(picture("PNG", seed=i))
    return _of_runs(run.path, folder) | _of_data(folder)


_SMALL = {
    "model.backbone": "resnet8", "data.largest": 40, "data.imbalance_factor": 4, "engine.progress": "none",
    "engine.threads": 1, "engine.accelerator": "cpu",
}  # fmt: skip


def _images(content: bytes, work: Path) -> None:
    decoded(Sample("x", 0, content))
    look(Split(Encoded([content]), torch.zeros(1, dtype=torch.int64)))
    _ = Encoded([content])[0]


def _masks(content: bytes, work: Path) -> None:
    look_at_pairs([Pair("x", picture("PNG"), content)])
    _ = EncodedMasks([content], class_table(3, (255,)))[0]


def _source(suffix: str) -> Callable[[bytes, Path], object]:
    def read(content: bytes, work: Path) -> None:
        (work / f"d{suffix}").write_bytes(content)
        if suffix == ".csv":
            with contextlib.suppress(ValueError):
                inputs([work / "d.csv"], "group")
        open_source(work / f"d{suffix}", issues_path=work / "issues.csv", download_root=work / "cache")

    return read


def _file(read: Callable[[Path], object], name: str) -> Callable[[bytes, Path], object]:
    def of(content: bytes, work: Path) -> None:
        (work / name).write_bytes(content)
        read(work / name)

    return of


def _parquet(annotated: bool) -> bytes:
    out = io.BytesIO()
    cells = [{"bytes": picture("PNG", seed=i), "path": "../../etc/passwd"} for i in range(6)]
    columns = {"image": cells, "label": [i % 2 for i in range(6)]}
    if annotated:
        columns = {"image": cells, "annotation": [{"bytes": mask(seed=i), "path": ""} for i in range(6)]}
    info = {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["a", "b"]}}}}
    pq.write_table(pa.table(columns).replace_schema_metadata({"huggingface": json.dumps(info)}), out)
    return out.getvalue()


def _of_data(folder: Path) -> dict[str, Reader]:
    kinds = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "JPEG2000")
    lines = "\n".join(f"{folder}/{i}.png,{'ab'[i % 2]},train,g{i}" for i in range(6))
    text = "\n".join(f"{folder}/{i}.png {i % 2}" for i in range(6))
    several = "\n".join(f"{folder}/{i}.png,{'a;b' if i % 2 else 'b'}" for i in range(6))
    coco = {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in range(4)],
        "annotations": [{"image_id": i, "category_id": i % 2} for i in range(4)],
        "categories": [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}],
    }
    prior = b"class,share\na,0.2\nb,0.5\nc,0.3\n"
    names, counts = ("a", "b", "c"), torch.tensor([5, 3, 1])
    pairs = [Pair("x", picture("PNG"), mask()), Pair("y", picture("PNG", seed=1), mask(seed=1))]
    look_at_pairs(pairs, folder / "counts")
    cache = next((folder / "counts").glob("*.npz"))

    def counted(content: bytes, work: Path) -> None:
        (work / cache.name).write_bytes(content)
        look_at_pairs(pairs, work)

    csvs = [f"path,label,split,group\n{lines}\n".encode(), f"path,labels\n{several}\n".encode()]
    return {
        "images": Reader([picture(kind) for kind in kinds], mutations.whole, _images),
        "PNG": Reader([picture("PNG", mode) for mode in ("RGB", "P", "L", "RGBA", "I;16")], mutations.png, _images),
        "masks": Reader([mask(), mask(16)], mutations.png, _masks),
        "pixel counts": Reader([cache.read_bytes()], mutations.whole, counted),
        "parquet": Reader([_parquet(False), _parquet(True)], mutations.whole, _source(".parquet")),
        "CSV": Reader(csvs, mutations.whole, _source(".csv")),
        "listing": Reader([text.encode()], mutations.whole, _source(".txt")),
        "annotations": Reader([json.dumps(coco).encode()], mutations.values, _file(read_annotations, "a.json")),
        "prior": Reader([prior], mutations.whole, _file(lambda path: fixed(str(path), names, counts), "p.csv")),
    }


class Keys(LightningModule):
    """Stands for a run's learner: takes a state of its own keys and shapes."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.wanted = torch.load(path, weights_only=True)["state_dict"]

    def load_state_dict(self, state: Any, strict: bool = True, assign: bool = False) -> Any:
        """Refuse others."""
        if {key: value.shape for key, value in state.items()} != {key: value.shape for key, value in self.wanted.items()}:
            raise RuntimeError("other keys or shapes")


_FOUND = {"name": "dead queue", "severity": "warning", "measured": "10 %", "what": "little", "advice": "less", "epoch": 1}


def _command(*words: str) -> Callable[[Path], None]:
    """Runs one on a folder: it may do its work, or refuse in one line."""

    def of(work: Path) -> None:
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = main([*words, str(work)])
        assert "Traceback" not in said.getvalue(), said.getvalue()
        if code:
            assert len(said.getvalue().splitlines()) == 1, said.getvalue()
            raise Refused

    return of


def _of_runs(run: Path, folder: Path) -> dict[str, Reader]:
    held = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    held["findings.json"] = json.dumps({"dead queue": _FOUND}).encode()
    image = folder / "0.png"

    def beside(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
        def of(content: bytes, work: Path) -> None:
            for other, whole in held.items():
                (work / other).write_bytes(whole if other != name else content)
            read(work)

        return of

    def predicted(work: Path) -> None:
        classify(work, [image], work / "out.csv", sets=0.9, abstain=0.1, overwrite=True)

    def resumed(work: Path) -> None:
        for name in ("result.json", "report.html"):  # trained, and not judged
            (work / name).unlink()
        _command("fit", "--resume")(work)

    def looked_at(command: str, read: Callable[[Path], object], *names: str) -> dict[str, Reader]:
        inner = {name: mutations.values if name.endswith(".json") else mutations.whole for name in names}
        return {f"{name}, {command}": Reader([held[name]], inner[name], beside(name, read)) for name in names}

    def built(path: Path) -> None:
        record = parse.resolve(parse.read(path), ())
        needs.check(record)
        parse.build(record)

    learner, reported = Keys(run / "last.ckpt"), _command("report", "--text")
    published = io.BytesIO()
    torch.save({"state_dict": _published()}, published)
    recipes = [path.read_bytes() for name, path in parse.shipped().items() if name.startswith("digits_lt/")][:8]
    model, about, checkpoints = held["model.safetensors"], held["model.json"], [held["last.ckpt"]]
    return {
        "recipe": Reader([held["recipe.yaml"], *recipes], mutations.whole, _file(built, "r.yaml")),
        "result.json": Reader([held["result.json"]], mutations.values, beside("result.json", reported)),
        "manifest.json": Reader([held["manifest.json"]], mutations.values, beside("manifest.json", reported)),
        "run's recipe": Reader([held["recipe.yaml"]], mutations.whole, beside("recipe.yaml", reported)),
        "model.json": Reader([about], mutations.values, beside("model.json", predicted)),
        "model.safetensors": Reader([model], mutations.header, beside("model.safetensors", predicted)),
        "validation": Reader([held["validation.safetensors"]], mutations.header, beside("validation.safetensors", predicted)),
        **looked_at("study", renew, "study.json"),
        **looked_at("doctor", _command("doctor"), "findings.json", "metrics.jsonl", "result.json", "recipe.yaml"),
        **looked_at("resume", resumed, "findings.json", "metrics.jsonl", "manifest.json", "recipe.yaml"),
        "last.ckpt": Reader(checkpoints, mutations.pickled, _file(lambda path: checkpoint.check(path, learner), "c.ckpt")),
        "teacher": Reader(checkpoints, mutations.pickled, _file(read_tensors, "t.pth")),
        "published": Reader([published.getvalue()], mutations.pickled, _file(lambda path: convert(path, "bcl"), "p.pth")),
    }


def _published() -> dict[str, Any]:
    """The names and shapes of a small network of BCL's code."""
    state: dict[str, Any] = {"encoder.conv1.weight": torch.zeros(16, 3, 3, 3)}
    wide = {1: 16, 2: 32, 3: 64}
    norms = {"encoder.bn1": 16}
    for stage, width in wide.items():
        before = wide.get(stage - 1, 16)
        state[f"encoder.layer{stage}.0.conv1.weight"] = torch.zeros(width, before, 3, 3)
        state[f"encoder.layer{stage}.0.conv2.weight"] = torch.zeros(width, width, 3, 3)
        norms |= {f"encoder.layer{stage}.0.bn{i}": width for i in (1, 2)}
    for name, width in norms.items():
        state |= {f"{name}.{part}": torch.ones(width) for part in ("weight", "bias", "running_mean", "running_var")}
    return state | {"fc.weight": torch.zeros(5, 64), "fc.bias": torch.zeros(5)}
