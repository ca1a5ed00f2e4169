"""Valid files made wrong: bytes and words of them changed, and what holds a format together mended afterwards."""

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable

from hypothesis import strategies as st

Change = tuple[str, float, bytes]
"""What is done, where (a share of the length), and with what."""

ODD_NUMBERS = [b"\x00" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\x00\x01\x00\x00", b"\xff\xff\xff\x7f"]
ODD_WORDS = [
    b"-1", b"0", b"1e999", b"NaN", b"Infinity", b"99999999999999999999", b"65000", b"null", b"true", b"[]", b"{}", b'""', b"'",
    b"[" * 300, b'{"a":' * 300, b"a" * 10_000, b"=HYPERLINK(1)", b"../../etc/passwd", b"/dev/zero", b"\x00", b"\r\n", b"\n",
    b"<script>alert(1)</script>", "\u202e".encode(), "é\u0301".encode(), b"\xff\xfe", b"\xed\xa0\x80", b"&a [*a, *a]", b"*a",
    b"!!python/object/apply:os.system [touch ran]", b"os.system", b"subprocess.Popen", b"antigravity.fly", b"2020-13-45", b",",
    b";", b":", b"- ", b"  ", b"\t", b"#", b"`", b"@", b"?", b"|", b">", b"%", b"~",
]  # fmt: skip
KINDS = ("flip", "set", "insert", "cut", "repeat", "end", "word", "drop", "swap")
_WORD = re.compile(rb"[\w.+-]+|[^\w\s]")


def changes() -> st.SearchStrategy[list[Change]]:
    """One to six changes."""
    filler = st.one_of(st.sampled_from(ODD_WORDS), st.sampled_from(ODD_NUMBERS), st.binary(min_size=1, max_size=12))
    return st.lists(st.tuples(st.sampled_from(KINDS), st.floats(0, 1, exclude_max=True), filler), min_size=1, max_size=6)


def changed(content: bytes, made: list[Change]) -> bytes:
    """The content after all of them."""
    for kind, where, filler in made:
        content = _changed(content, kind, where, filler)
    return content


def _changed(content: bytes, kind: str, where: float, filler: bytes) -> bytes:
    at = int(where * len(content))
    if kind in ("word", "drop", "swap"):
        words = list(_WORD.finditer(content[max(at - 2000, 0) : at + 2000]))
        if words:
            one = words[int(where * 7919) % len(words)]
            start, end = (max(at - 2000, 0) + place for place in one.span())
            new = {"word": filler, "drop": b"", "swap": words[int(where * 104729) % len(words)][0]}[kind]
            return content[:start] + new + content[end:]
        kind = "set"
    match kind:
        case "flip":
            return content[:at] + bytes(255 - byte for byte in content[at : at + 1]) + content[at + 1 :]
        case "set":
            return content[:at] + filler + content[at + len(filler) :]
        case "insert":
            return content[:at] + filler + content[at:]
        case "cut":
            return content[:at] + content[at + 7 * len(filler) :]
        case "repeat":
            return content[:at] + 3 * content[at : at + 64] + content[at:]
        case _:
            return content[: max(at, 1)]


Inner = Callable[[bytes], tuple[bytes, Callable[[bytes], bytes]]]
"""What is inside a format, and how it is put back so that the outside is right again."""


def whole(content: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    """All of the file as it is."""
    return content, lambda made: made


def png(content: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    """A PNG whose check sums are made right, as Pillow looks no further at others."""

    def mended(made: bytes) -> bytes:
        out, at = made[:8], 8
        while at + 12 <= len(made):
            (long,) = struct.unpack(">I", made[at : at + 4])
            body = made[at + 4 : at + 8 + long]
            out += made[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
            at += 12 + long
        return out

    return content, mended


def header(content: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    """The JSON at the head of a safetensors file."""
    (long,) = struct.unpack("<Q", content[:8])
    return content[8 : 8 + long], lambda made: struct.pack("<Q", len(made)) + made + content[8 + long :]


def pickled(content: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    """The pickle in a checkpoint of torch."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    inside = next(name for name in entries if name.endswith("data.pkl"))

    def packed(made: bytes) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, one in (entries | {inside: made}).items():
                archive.writestr(name, one)
        return out.getvalue()

    return entries[inside], packed


def values(content: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    """JSON with one value a line, so that a change of a word changes a value."""
    return json.dumps(json.loads(content), indent=0).encode(), lambda made: made
