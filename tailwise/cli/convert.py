"""``tailwise convert``."""

from pathlib import Path

from tailwise.cli.parser import FILE, FOLDER, Parser
from tailwise.errors import TailwiseError


def convert_parser() -> Parser:
    """Its options."""
    about = "Read a checkpoint of the authors' code of BCL, GML or ProCo; nothing in it is run."
    parser = Parser(prog="tailwise convert", description=about)
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", type=Path, help="a .pth or .pth.tar file")
    add("--from", dest="method", choices=("bcl", "gml", "proco"), required=True, help="whose code wrote it")
    add("--classes", metavar="FILE", type=Path, help="class names, one per line; default their numbers")
    add("--out", metavar="DIR", type=Path, required=True, help="the new folder for model.safetensors and model.json")
    parser.offers = {"checkpoint": FILE, "classes": FILE, "out": FOLDER}
    return parser


def convert(words: list[str]) -> None:
    """Make a run folder's model of a published checkpoint."""
    options = convert_parser().parse_args(words)
    out: Path = options.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TailwiseError(f"{out}: exists already; choose another --out")
    from tailwise.models import save
    from tailwise.models.published import convert as read

    found = read(options.checkpoint, options.method, None if options.classes is None else _lines(options.classes))
    save(found.network, out, found.about)
    made, size = found.network.config, found.about["image_size"]
    print(f"{out}: {made['backbone']}, {made['classes']} classes, {made['classifier']} classifier")
    if found.left_out:
        print(f"left out, of training only: {', '.join(f'{name} ({n})' for name, n in sorted(found.left_out.items()))}")
    print("unknown: training counts, so a target prior must be given or estimated, not taken from training")
    print(f"assumed: images of {size} pixels, normalised as {options.method}'s code does; logits that carry no prior")
    words = [f"--model.backbone {made['backbone']}", f"--model.classifier {made['classifier']}"]
    print(f"judge it: tailwise fit SOURCE --epochs 0 --model.start_from {out} {' '.join(words)}")


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise TailwiseError(f"--classes {path}: cannot be read ({error}); give a text file, one name per line") from error
