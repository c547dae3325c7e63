"""What is written beside the code: its width, its size, and that what it points at is there."""

import re
import unicodedata
from pathlib import Path

import pytest

from tests.test_published import git
from tooling.hosts import ROOT

COLUMNS, README = 160, 12_000  # README: bytes


def pages() -> list[Path]:
    """The Markdown files of the repository."""
    names = git("ls-files", "--cached", "--others", "--exclude-standard", "*.md")
    return [ROOT / name for name in names if (ROOT / name).exists()]


def columns(line: str) -> int:
    """The width on a screen, where a Chinese character takes two columns."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in line)


def anchors(text: str) -> set[str]:
    """Of the headings of a page, as GitHub names them."""
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def lost(page: Path) -> list[str]:
    """Links of a page to files or headings that are not there."""
    found = []
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if link.startswith("https://"):
            continue
        here = target.exists() and (not anchor or anchor in anchors(target.read_text("utf-8")))
        found += [] if here else [link]
    return found


def test_width_counts_what_a_screen_shows():
    assert columns("phi 低通") == 8


def test_no_line_is_wider_than_a_screen():
    lines = {path: path.read_text("utf-8").splitlines() for path in pages()}
    assert ROOT / "README.md" in lines and ROOT / "web/docs/ApplyILVR/zh.md" in lines
    wide = [
        f"{path.relative_to(ROOT)}:{number}: {columns(line)} columns"
        for path, text in lines.items()
        for number, line in enumerate(text, 1)
        if columns(line) > COLUMNS
    ]
    assert wide == []


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_a_readme_is_short(name):
    assert (ROOT / name).stat().st_size <= README


def test_both_readmes_have_the_same_parts():
    one, other = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh.md"))
    commands, pictures = r"^(?:python -m|make) .*?(?=  |$)", r"\]\(([^)]+\.png)\)"
    for part in (r"^(#+) ", r"^\|", r"^- ", commands, pictures):
        assert re.findall(part, one, re.M) == re.findall(part, other, re.M), part


def test_links_lead_somewhere(tmp_path):
    broken = tmp_path / "page.md"
    broken.write_text("# A title\n[1](#a-title) [2](#none) [3](gone.md) [4](page.md#none)")
    assert lost(broken) == ["#none", "gone.md", "page.md#none"]
    written = [page for page in pages() if "web" not in page.parts]  # the host resolves the help's
    assert {page.name: lost(page) for page in written if lost(page)} == {}
