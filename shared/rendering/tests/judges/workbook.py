"""What openpyxl finds in a workbook: prints its strings. Fails where a cell is a formula, or where saving and reading again changes one."""

import sys

from openpyxl import load_workbook

path, copy = sys.argv[1:3]
workbook = load_workbook(path)
for sheet in workbook:
    for row in sheet.iter_rows():
        for cell in row:
            if cell.data_type == "f":
                sys.exit(f"{sheet.title}!{cell.coordinate} is a formula: {cell.value!r}")
workbook.save(copy)
again = load_workbook(copy)
for sheet in workbook:
    for row in sheet.iter_rows():
        for cell in row:
            value = again[sheet.title][cell.coordinate].value
            if value != cell.value:
                sys.exit(f"{sheet.title}!{cell.coordinate} was {cell.value!r} and is {value!r}")
            if isinstance(value, str):
                print(value)
