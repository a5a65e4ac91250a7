"""A Markdown file as HTML, by a CommonMark reader that lets markup through."""

import sys

from markdown_it import MarkdownIt

with open(sys.argv[1], encoding="utf-8") as file:
    text = file.read()
print(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))
