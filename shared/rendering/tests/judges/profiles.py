"""Whether a PDF keeps to the profiles that are named: 2a, 3a, ua1. Prints the rules that it breaks."""

import sys

import page

path, *profiles = sys.argv[1:]
broken = False
for profile in profiles:
    report = page.validate_pdf(path, profile=profile)
    print(f"{profile}: {report.rules.total} rules, {report.rules.failed} broken")
    for failure in report.failures[:20]:
        broken = True
        print(f"{profile} {failure.rule_id}: {failure.message}")
    broken |= not report.is_compliant
sys.exit(1 if broken else 0)
