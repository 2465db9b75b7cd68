"""The documentation as a site, from the pages as they are: `make site`."""

from __future__ import annotations

from pathlib import Path

project = "edgegolf"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "edgegolf"
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "deploy/*/README.md"]
myst_heading_anchors = 4
suppress_warnings = [
    "misc.highlighting_failure",  # Mermaid is not coloured
    "myst.header",  # a page of a package index may begin with a lower heading
]
CONTENTS = {
    "Use": "package bench golf anatomy export pytorch compare c circuit raspberry-pi demo report",
    "Nets": "zoo data train sweep search sharing footprint cifar10 users",
}


def contents() -> str:
    """What the first page lists beside it; pages that are named nowhere are to look up."""
    named = " ".join(CONTENTS.values()).split()
    others = sorted(page.stem for page in Path(__file__).parent.glob("*.md"))
    chapters = {
        caption: [f"docs/{page}" for page in pages.split()] for caption, pages in CONTENTS.items()
    }
    chapters["Look up"] = [f"docs/{page}" for page in others if page not in named]
    chapters["More"] = ["deploy/**", "CONTRIBUTING", "CHANGELOG"]
    return "".join(
        f"\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {caption}\n\n"
        + "\n".join(pages)
        + "\n```\n"
        for caption, pages in chapters.items()
    )


def setup(app: object) -> None:
    """Give the first page the contents of the site, which readers of the file see as links."""

    def add_contents(_: object, name: str, source: list[str]) -> None:
        if name == root_doc:
            source[0] += contents()

    app.connect("source-read", add_contents)  # type: ignore[attr-defined]
