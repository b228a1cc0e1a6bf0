"""Half of the channels of every model of torchvision and of varied timm models, cut and proved: docs/model_zoo.md.

python -m benchmarks.model_zoo                       # all, in two processes; writes the page
python -m benchmarks.model_zoo --resume zoo.jsonl    # the same, and goes on after an interruption
python -m benchmarks.model_zoo torchvision/resnet18  # these only; prints their lines
"""

import json
import platform
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from benchmarks.zoo_models import MODELS, available
from benchmarks.zoo_verdicts import Verdict, judge, verdict_of

PAGE = Path(__file__).parent.parent / "docs" / "model_zoo.md"
COMMAND = "python -m benchmarks.model_zoo"
LIMIT = 600
"""Seconds of processor time for one model."""
STATES = ("exact", "statistics", "partly", "refused", "failed")


def main() -> None:
    """Run those named, or all."""
    if sys.argv[1:2] == ["--one"]:
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))
        print(json.dumps(asdict(judge(sys.argv[2]))))
        return
    log = Path(sys.argv[2]) if sys.argv[1:2] == ["--resume"] else None
    chosen = sys.argv[3:] if log else sys.argv[1:]
    names = chosen or [name for name in MODELS if available(name)]
    known = {v.name: v for v in map(_read, log.read_text().splitlines())} if log and log.exists() else {}
    with ThreadPoolExecutor(2) as pool:
        verdicts = []
        for verdict in pool.map(lambda name: known.get(name) or _apart(name), names):
            verdicts.append(verdict)
            print(_line(verdict), flush=True)
            if log and verdict.name not in known:
                with log.open("a") as file:
                    file.write(json.dumps(asdict(verdict)) + "\n")
    print(_totals(verdicts))
    if not chosen:
        PAGE.write_text(page(verdicts))


def _read(line: str) -> Verdict:
    about = json.loads(line)
    return Verdict(**{**about, "reasons": tuple(about["reasons"])})


def _apart(name: str) -> Verdict:
    """In a process of its own: memory is given back, and whatever happens there is a verdict."""
    command = [sys.executable, "-m", "benchmarks.model_zoo", "--one", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return verdict_of(name, "failed", f"more than {LIMIT} s of processor time, or out of memory")
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        return verdict_of(name, "failed", f"exit {done.returncode}: {''.join(last)}")
    return _read(done.stdout.splitlines()[-1])


def _line(v: Verdict) -> str:
    size = "" if not v.after else f"{v.before / 1e6:.2f} | {v.after / 1e6:.2f}"
    proof = f"{v.difference:.0e}" if v.difference is not None else ""
    removable = f"{100 * v.share:.0f} %" if v.share is not None else ""
    reasons = "; ".join(reason.replace("|", "/") for reason in v.reasons)
    return f"| {v.name} | {v.size} | {v.state} | {removable} | {size or ' | '} | {v.form} | {proof} | {reasons} |"


def _totals(verdicts: list[Verdict]) -> str:
    lines = ["| | models | " + " | ".join(STATES) + " | proved |", "|---|---|" + "---|" * (len(STATES) + 1)]
    for source in sorted({v.name.split("/")[0] for v in verdicts}, reverse=True):
        own = [v for v in verdicts if v.name.startswith(f"{source}/")]
        counts = " | ".join(str(sum(v.state == state for v in own)) for state in STATES)
        proved = sum(v.difference is not None for v in own)
        lines.append(f"| {source} | {len(own)} | {counts} | {proved} |")
    return "\n".join(lines)


def page(verdicts: list[Verdict]) -> str:
    """The page of the docs."""
    minutes = sum(v.seconds for v in verdicts) / 60
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "timm"))
    return f"""# Model zoo

Every classification model of torchvision and {sum(v.name.startswith("timm/") for v in verdicts)} varied timm models,
with random weights: half of the channels of each layer are removed (`sparsity=0.5, granularity="channel",
scope="layer"`), and the smaller network is compared with the masked one in float64. Numbers that usually start at
zero or one (scales, shifts, running statistics) are drawn at random first, so that no branch is silent.

{_totals(verdicts)}

- *exact*: every channel that does not reach the network's output can be removed, and what was removed is proved.
- *statistics*: the same, but for channels that a normalisation over channels reads, whose statistics would change
  (`changing=True` offers these too, and did where nothing else was on offer).
- *partly*: proved, but some channels stay for another reason, which is in the last column.
- *refused*: nothing was cut, with the reason. *failed*: an error, or more than {LIMIT} s of processor time.

*removable*: share of the parameters that belong to a channel that can be removed with the function unchanged.
*form*: the network's own class with smaller layers, or its graph where its code says sizes that cannot be changed.
*proof*: largest difference of any answer, relative to the largest answer (at most 1e-9 passes).

Written by `{COMMAND}` with {versions}, Python {platform.python_version()}, in {minutes:.0f} minutes
of processor time.

| model | input | cut | removable | million parameters | after | form | proof | what stays, and why |
|---|---|---|---|---|---|---|---|---|
{chr(10).join(_line(v) for v in verdicts)}
"""


if __name__ == "__main__":
    main()
