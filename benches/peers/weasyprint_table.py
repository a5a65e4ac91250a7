"""A PDF of the rows in a JSON file, by WeasyPrint. Prints seconds and the highest memory in MiB."""

import resource
import sys
import time

from table_page import page
from weasyprint import HTML

text = page(sys.argv[1])
started = time.perf_counter()
HTML(string=text).write_pdf()
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
