"""Known vulnerabilities of what is installed, from the first list of them that answers; one line where none does.

python -m soak.audit

pip-audit is told to read this environment and runs in one of its own, `.venv-audit`, so that what it needs is not audited too.
It ends well also where its list knows none of the distributions, so what it says of each is counted here.
"""

import json
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

TOOL = Path(".venv-audit/bin/pip-audit")
LISTS = ("pypi", "osv")
"""Where pip-audit can ask: the package index itself, and osv.dev."""


def asked(source: str) -> list[dict[str, Any]]:
    """What a list says of every distribution that it knows, as pip-audit writes it; nothing where the list cannot be had."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        words = [
            "--vulnerability-service",
            source,
            "--path",
            sysconfig.get_path("purelib"),
            "--format",
            "json",
            "--output",
            out,
        ]
        done = subprocess.run([TOOL, "--progress-spinner", "off", "--timeout", "15", *words], capture_output=True, text=True)
        if not out.is_file():
            print(f"{source}: {(done.stderr.strip().splitlines() or ['no answer'])[-1]}", file=sys.stderr)
            return []
        every = json.loads(out.read_text(encoding="utf-8"))["dependencies"]
    known = [one for one in every if "skip_reason" not in one]
    print(f"{source}: knows {len(known)} of {len(every)} distributions", file=sys.stderr)
    return known


def main() -> None:
    """Print what was found; end with 1 where a distribution has a known vulnerability."""
    known = next((found for source in LISTS if (found := asked(source))), [])
    if not known:
        print("audit: no list of vulnerabilities can be reached from here, so nothing was audited")
        return
    bad = [(one["name"], one["version"], of) for one in known for of in one["vulns"]]
    for name, version, of in bad:
        print(f"{name} {version}: {of['id']}, mended in {', '.join(of['fix_versions']) or 'no version yet'}")
    print(f"audit: {len(bad)} known vulnerabilities in {len(known)} distributions")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
