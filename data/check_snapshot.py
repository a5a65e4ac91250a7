#!/usr/bin/env python3
"""Check the demo's feed snapshot: shapes, digests, sources, versions.

Reads data/snapshot beside this file, prints one line, and exits 1 with every problem named when
something is wrong. Standard library only; version order is checked when `dpkg` is at hand.
"""

import csv
import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

SNAPSHOT = Path(__file__).resolve().parent / "snapshot"
CVE = re.compile(r"CVE-\d{4}-\d{4,}$")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
problems: list[str] = []


def expect(condition: bool, problem: str) -> None:
    if not condition:
        problems.append(problem)


def load(name: str):
    return json.loads((SNAPSHOT / name).read_text(encoding="utf-8"))


def check_manifest() -> dict[str, int]:
    """Every file is listed, its digest and record count are right; returns the counts that were promised."""
    manifest = load("manifest.json")
    listed = {entry["path"] for entry in manifest["files"]}
    present = {str(p.relative_to(SNAPSHOT)) for p in SNAPSHOT.rglob("*") if p.is_file()}
    unlisted = present - listed - {"manifest.json", "SOURCES.csv"}
    unlisted = {p for p in unlisted if not any(p.startswith(d + "/") for d in listed)}
    expect(not unlisted, f"files missing from the manifest: {sorted(unlisted)}")
    for entry in manifest["files"]:
        path = SNAPSHOT / entry["path"]
        expect(path.exists(), f"{entry['path']} is listed but absent")
        if path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.is_dir():
            digest = directory_digest(path)
        else:
            continue
        expect(digest == entry["sha256"], f"{entry['path']} has another digest than the manifest says")
        expect(bool(DATE.match(entry["as_of"])), f"{entry['path']} has no date")
    newest = max(entry["as_of"] for entry in manifest["files"])
    expect(manifest["as_of"] == newest, f"as_of is {manifest['as_of']}, the newest file is of {newest}")
    return {entry["path"]: entry["records"] for entry in manifest["files"]}


def directory_digest(path: Path) -> str:
    """A folder's digest: of the lines that `sha256sum` prints for its files in name order."""
    lines = (
        f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n" for f in sorted(path.iterdir())
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_kev() -> list[str]:
    catalogue = load("kev.json")
    entries = catalogue["vulnerabilities"]
    fields = {
        "cveID", "vendorProject", "product", "vulnerabilityName", "dateAdded", "shortDescription",
        "requiredAction", "dueDate", "knownRansomwareCampaignUse", "notes", "cwes",
    }  # fmt: skip
    expect(catalogue["count"] == len(entries), "kev.json: count differs from its entries")
    for entry in entries:
        expect(set(entry) == fields, f"kev.json: {entry.get('cveID')} has other fields than the feed")
        expect(entry["knownRansomwareCampaignUse"] in ("Known", "Unknown"), f"kev.json: {entry['cveID']}")
    return [entry["cveID"] for entry in entries]


def check_epss() -> list[str]:
    with gzip.open(SNAPSHOT / "epss.csv.gz", "rt", encoding="ascii") as file:
        comment, *rows = file.read().splitlines()
    expect(bool(re.match(r"#model_version:v[\d.]+,score_date:\d{4}-\d{2}-\d{2}T", comment)), "epss: first line")
    expect(rows[0] == "cve,epss,percentile", "epss: header")
    for cve, score, percentile in (row.split(",") for row in rows[1:]):
        expect(0 <= float(score) <= 1 and 0 <= float(percentile) <= 1, f"epss: {cve} is out of range")
    return [row.split(",")[0] for row in rows[1:]]


def check_debian() -> list[str]:
    records, versions = [], []
    for package, cves in load("debian.json").items():
        for cve, record in cves.items():
            records.append(cve)
            expect(bool(record["description"]), f"debian.json: {package} {cve} has no description")
            expect(bool(record["releases"]), f"debian.json: {package} {cve} has no release")
            for release, state in record["releases"].items():
                where = f"debian.json: {package} {cve} {release}"
                expect(state["status"] in ("resolved", "open", "undetermined"), where)
                expect(("fixed_version" in state) == (state["status"] == "resolved"), where)
                newest = list(state["repositories"].values())
                expect(bool(newest), f"{where} names no repository")
                if state.get("fixed_version", "0") != "0" and package != "sope":
                    versions.append((where, state["fixed_version"], newest))
    if shutil.which("dpkg"):
        # A version that fixes something must have reached at least one archive of its release.
        for where, fixed, newest in versions:
            reached = any(dpkg_le(fixed, version) for version in newest)
            expect(reached, f"{where}: {fixed} is newer than the archive ({newest})")
    return records


def dpkg_le(left: str, right: str) -> bool:
    return subprocess.run(["dpkg", "--compare-versions", left, "le", right], check=False).returncode == 0


def check_osv() -> list[str]:
    records = []
    for file in sorted((SNAPSHOT / "osv").glob("*.json")):
        record = json.loads(file.read_text(encoding="utf-8"))
        records.append(record["id"])
        expect(file.stem == record["id"], f"osv: {file.name} holds {record['id']}")
        expect(bool(record.get("modified")), f"osv: {record['id']} has no modified date")
        for affected in record["affected"]:
            expect(bool(affected["package"]["ecosystem"]), f"osv: {record['id']} has no ecosystem")
            for span in affected.get("ranges", []):
                events = [next(iter(event)) for event in span["events"]]
                known = {"introduced", "fixed", "last_affected", "limit"}
                expect(set(events) <= known and "introduced" in events, f"osv: {record['id']} events")
    return records


def check_nvd() -> list[str]:
    records = []
    for file in sorted((SNAPSHOT / "nvd").glob("*.json")):
        page = json.loads(file.read_text(encoding="utf-8"))
        expect(page["format"] == "NVD_CVE" and page["version"] == "2.0", f"nvd: {file.name} is no 2.0 page")
        expect(page["resultsPerPage"] == len(page["vulnerabilities"]), f"nvd: {file.name} page size")
        for item in page["vulnerabilities"]:
            cve = item["cve"]
            records.append(cve["id"])
            expect(bool(cve["published"]) and bool(cve["lastModified"]), f"nvd: {cve['id']} has no dates")
            expect(bool(cve["descriptions"]), f"nvd: {cve['id']} has no description")
            for metric in (m for group in cve["metrics"].values() for m in group):
                data = metric["cvssData"]
                expect(0 <= data["baseScore"] <= 10, f"nvd: {cve['id']} has the score {data['baseScore']}")
    return records


def main() -> int:
    promised = check_manifest()
    found = {}
    for path, check in (
        ("kev.json", check_kev),
        ("epss.csv.gz", check_epss),
        ("debian.json", check_debian),
        ("osv", check_osv),
        ("nvd", check_nvd),
    ):
        if (SNAPSHOT / path).exists():
            found[path] = check()

    with open(SNAPSHOT / "SOURCES.csv", encoding="utf-8", newline="") as file:
        sourced = {(row["file"].split("/")[0], row["record"]) for row in csv.DictReader(file) if row["source"]}
    for path, records in found.items():
        total = sum(count for name, count in promised.items() if name.split("/")[0] == path)
        expect(total == len(records), f"{path} has {len(records)} records, the manifest says {total}")
        for record in records:
            expect((path, record) in sourced, f"{path}: {record} has no row in SOURCES.csv")
            if path != "osv":
                expect(bool(CVE.match(record)), f"{path}: {record} is no CVE id")
        if path != "debian.json":
            twice = {record for record in records if records.count(record) > 1}
            expect(not twice, f"{path} holds twice: {sorted(twice)}")

    for problem in problems:
        print(problem, file=sys.stderr)
    counts = ", ".join(f"{path} {len(records)}" for path, records in found.items())
    print(f"snapshot {'broken' if problems else 'sound'}: {counts}, {len(sourced)} sourced records, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
