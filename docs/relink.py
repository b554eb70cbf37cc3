"""Set the line of every link from the docs into the code to where its name is defined now: python docs/relink.py

A link such as [`train_step`](../src/dcgan/train/loop.py#L1), or one with the name as its title, means the line that
defines that name. A test holds the links to this.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Text, target, line if any, and title if any of a link that stays within the repository.
LINK = re.compile(r"\[([^\]]*)\]\((?!https?:)([^)#\s]*)(?:#L(\d+))?[^)\s]*(?: \"(\w+)\")?\)")


def defining_line(file: Path, name: str) -> int:
    """The number of the line of `file` that defines `name`, counted from 1; `ValueError` if none does."""
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        if re.search(rf"(def |class |^){name}\b", line):
            return number
    raise ValueError(f"{file} does not define {name}")


def main() -> None:
    """Rewrite the pages in place."""
    for page in PAGES:

        def relinked(match: re.Match[str], page: Path = page) -> str:
            text, target, line, title = match.groups()
            if line is None:
                return match[0]
            number = defining_line(page.parent / target, title or text.strip("`"))
            return match[0].replace(f"#L{line}", f"#L{number}")

        page.write_text(LINK.sub(relinked, page.read_text()))


if __name__ == "__main__":
    main()
