"""A workbook of the rows in a JSON file, by openpyxl in its write-only mode. Prints seconds and the highest memory in MiB."""

import json
import resource
import sys
import tempfile
import time

from openpyxl import Workbook

with open(sys.argv[1], encoding="utf-8") as file:
    rows = json.load(file)
with tempfile.NamedTemporaryFile(suffix=".xlsx") as target:
    started = time.perf_counter()
    workbook = Workbook(write_only=True)
    sheet = workbook.create_sheet("Findings")
    for row in rows:
        sheet.append(row)
    workbook.save(target.name)
    took = time.perf_counter() - started
print(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
