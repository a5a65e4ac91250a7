"""Whether a PDF keeps to the profiles that are named: 2a, 3a, ua1. Prints the rules that it breaks."""

import re
import sys

import page

# The validator takes a stream's end for part of the line feed behind it where it happens to be a carriage return.
STREAM_LENGTHS = re.compile(r"PDFA\d\w-STREAM-LENGTH-001")


def lengths_are_right(path):
    """Whether every stream ends with a line feed and `endstream` where its own length says."""
    data = open(path, "rb").read()
    starts = [found for found in re.finditer(rb"(?<!end)stream\n", data)]
    lengths = [re.findall(rb"/Length (\d+)", data[max(0, start.start() - 1000) : start.start()]) for start in starts]
    ends = [start.end() + int(found[-1]) for start, found in zip(starts, lengths) if found]
    return len(ends) > 0 and all(data[end : end + 10] == b"\nendstream" for end in ends)


path, *profiles = sys.argv[1:]
broken = False
for profile in profiles:
    report = page.validate_pdf(path, profile=profile)
    failures = list(report.failures)
    real = [it for it in failures if not STREAM_LENGTHS.fullmatch(it.rule_id) or not lengths_are_right(path)]
    print(f"{profile}: {report.rules.total} rules, {len({it.rule_id for it in real})} broken")
    for failure in real[:20]:
        broken = True
        print(f"{profile} {failure.rule_id}: {failure.message}")
    broken |= not report.is_compliant and len(real) == len(failures)
sys.exit(1 if broken else 0)
