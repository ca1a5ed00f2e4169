"""``tailwise export``."""

from tailwise.cli.known import FORMAT
from tailwise.cli.parser import FILE, FOLDER, Parser
from tailwise.errors import TailwiseError


def export_parser() -> Parser:
    """Its options."""
    about = "Write the model of a run as one file that says how to use it, checked against the run."
    parser = Parser(prog="tailwise export", description=about)
    add = parser.add_argument
    add("run", metavar="RUN", help="the folder that fit wrote")
    add("--format", metavar="F", default="onnx", help="onnx, torch (.pt2) or safetensors; default onnx")
    add("--out", metavar="FILE", help="default RUN/NAME.onnx, .pt2 or .safetensors")
    add("--size", metavar="HxW", help="of runs for pixels: the one size of the input; by default any, where it can be")
    add("--overwrite", action="store_true", help="replace the file where it is there")
    parser.offers = {"run": FOLDER, "format": FORMAT, "out": FILE}
    return parser


def export(words: list[str]) -> None:
    """Write a run's model as one file."""
    options = export_parser().parse_args(words)
    from tailwise.export import export as write

    done = write(options.run, options.format, options.out, size=_sides(options.size), overwrite=options.overwrite)
    given, classes = done.metadata["input"], len(done.metadata["classes"])
    sides = "H, W" if given["size"] is None else f"{given['size'][0]}, {given['size'][1]}"
    logits = f"N, {classes}" if done.metadata["output"]["layout"] == "NC" else f"N, {classes}, {sides}"
    free = "" if given["size"] is not None else f", H and W multiples of {given['multiple_of']}"
    print(f"{done.path}: {done.path.stat().st_size / 1e6:.1f} MB, images (N, 3, {sides}) to logits ({logits}){free}")
    print(f"checked: its logits are those of the run to within {done.difference:.0e}")


def _sides(text: str | None) -> tuple[int, int] | None:
    """``512x640`` or ``512`` as height and width."""
    if text is None:
        return None
    sides = text.split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise TailwiseError(f"export: --size is HxW such as 512x640, got {text!r}")
    return int(sides[0]), int(sides[-1])
