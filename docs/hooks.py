"""What the site has beyond this folder: the page of benchmarks, which is written beside its results."""

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

PAGE = "benchmarks.md"


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
