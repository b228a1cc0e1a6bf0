"""Where the page comes from, what it leaves out, and how to do it again."""

from datetime import datetime
from typing import Any

from prudent.report import answers
from prudent.report.checklist import as_dicts, checklist
from prudent.report.glossary import glossary
from prudent.report.reading import Run
from prudent.report.settings_table import tables
from prudent.wording import fixed, plural


def view(run: Run) -> dict[str, Any]:
    """Checklist, provenance, splits to scale, settings, commands and the glossary."""
    points = checklist(run)
    met, partly, missing = (sum(p.state == s for p in points) for s in ("met", "partly", "missing"))
    return {
        "answer": answers.trust(met, partly, missing, data=run.data["about"], model=run.study["model"]["name"]),
        "checklist": as_dicts(points),
        "provenance": _provenance(run),
        "environments": [_environment(e) for e in run.results["environments"]],
        "splits": _splits(run),
        "settings": tables(run.study),
        "id": run.results["id"],
        "file": run.results["file"],
        "full": run.results.get("full", False),  # results of earlier versions do not say
        "network": run.network(*run.start, run.declared[2])["folder"],
        "certified": run.certificate.selected is not None,
        "glossary": glossary(run),
    }


def _provenance(run: Run) -> list[tuple[str, str]]:
    """What was used and made, with its fingerprints (SHA-256)."""
    method, at = run.start
    seed = run.declared[2]
    network = run.network(method, at, seed)
    seconds = run.results["seconds"]
    rows = [
        ("run", run.results["id"]),
        ("finished", moment(run.results["finished"])),
        ("took", f"{duration(seconds['this_run'])}; computing in all {duration(seconds['computing'])}"),
        ("made", f"{plural(len(run.results['networks']), 'network')}, {plural(len(run.certificates), 'certificate')}"),
        ("data", f"{run.data['name']}: {run.data['about']}"),
        ("its fingerprint", run.data["fingerprint"]),
    ]  # fmt: skip
    if run.has_ood:
        ood = run.data["ood"]
        rows += [("strangers", f"{ood['name']}: {ood['about']}"), ("their fingerprint", ood["fingerprint"])]
    what = "certified network" if run.certificate.selected is not None else "first candidate"
    return [
        *rows,
        ("dense network", f"{run.dense(seed)['folder']}"),
        ("its fingerprint", run.dense(seed)["fingerprint"]),
        (what, network["folder"]),
        ("its fingerprint", network["fingerprint"]),
    ]


def _environment(found: dict[str, str]) -> str:
    versions = ", ".join(f"{name} {found[name]}" for name in ("prudent", "python", "torch", "numpy") if name in found)
    rest = [v for k, v in found.items() if k not in ("prudent", "python", "torch", "numpy", "threads", "cores")]
    threads = f"{plural(int(found['threads']), 'thread')} of {plural(int(found['cores']), 'core')}"
    return f"{versions}; {', '.join(rest)}; {threads}" if "threads" in found and "cores" in found else versions


def _splits(run: Run) -> list[dict[str, Any]]:
    purposes = {
        "train": "to train", "validation": "for every choice", "certification": "for the certificates alone",
        "test": "to report",
    }  # fmt: skip
    sizes = {name: int(n) for name, n in run.data["splits"].items()}
    largest = max(sizes.values())
    return [
        {
            "name": name,
            "n": n,
            "text": f"{n:,}",
            "purpose": purposes.get(name, ""),
            "part": round(100 * n / largest, 1),
        }
        for name, n in sizes.items()
    ]


def moment(text: str) -> str:
    """An ISO moment as "21 November 2026, 02:29 UTC"; as it is where it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{found.day} {found:%B %Y, %H:%M} {found.tzname() or ''}".rstrip()


def duration(seconds: float) -> str:
    """Seconds in words: "83 s", "2 min 8 s", "3 h 5 min"."""
    whole = round(seconds)
    if whole < 120:
        return f"{fixed(seconds, 0)} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
