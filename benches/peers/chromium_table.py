"""A PDF of the rows in a JSON file, by headless Chromium. Prints seconds, its start among them, and the memory of its largest
process in MiB."""

import pathlib
import resource
import subprocess
import sys
import tempfile
import time

from table_page import page

with tempfile.TemporaryDirectory() as folder:
    source = pathlib.Path(folder, "page.html")
    source.write_text(page(sys.argv[1]), encoding="utf-8")
    target = pathlib.Path(folder, "page.pdf")
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile", f"--print-to-pdf={target}"]
    started = time.perf_counter()
    subprocess.run(["chromium", *arguments, source.as_uri()], check=True, capture_output=True)
    took = time.perf_counter() - started
    assert target.stat().st_size > 100_000, "the file is too small to be true"
print(took, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
