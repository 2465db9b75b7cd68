"""The documentation as a site, from the pages as they are: `make site`."""

from __future__ import annotations

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
    "Nets": "zoo data train sweep sharing footprint cifar10 users",
    "Look up": "cli api ci gpu runtimes arm reference-kernels sharing-onnx strangers security",
}


def setup(app: object) -> None:
    """Give the first page the contents of the site, which readers of the file see as links."""

    def add_contents(_: object, name: str, source: list[str]) -> None:
        if name == root_doc:
            source[0] += "".join(
                f"\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {caption}\n\n"
                + "".join(f"docs/{page}\n" for page in pages.split())
                + ("deploy/**\nCONTRIBUTING\nCHANGELOG\n" if caption == "Look up" else "")
                + "```\n"
                for caption, pages in CONTENTS.items()
            )

    app.connect("source-read", add_contents)  # type: ignore[attr-defined]
