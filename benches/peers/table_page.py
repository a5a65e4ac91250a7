"""The rows in a JSON file as a page with one table, for programs that print pages."""

import html
import json

STYLE = """@page { size: A4 landscape; margin: 15mm; @bottom-right { content: counter(page) " of " counter(pages); } }
body { font: 8pt sans-serif; } table { border-collapse: collapse; width: 100%; table-layout: fixed; }
th, td { text-align: left; vertical-align: top; padding: 2pt 4pt; overflow-wrap: anywhere; } thead { display: table-header-group; }
tr { break-inside: avoid; } tr:nth-child(even) { background: #f4f6f9; } b { border-radius: 2pt; padding: 0 4pt; background: #f7e3e7; }"""


def page(path):
    with open(path, encoding="utf-8") as file:
        titles, *rows = json.load(file)
    head = "".join(f"<th>{html.escape(title)}" for title in titles)
    body = "".join(
        f"<tr><td><b>{html.escape(str(first))}</b>" + "".join(f"<td>{html.escape(str(cell))}" for cell in rest)
        for first, *rest in rows
    )
    return f"<!doctype html><meta charset=utf-8><title>Findings</title><style>{STYLE}</style><table><thead><tr>{head}<tbody>{body}</table>"
