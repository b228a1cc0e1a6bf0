"""The command that watches a certified network in use: `prudent monitor`."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prudent.errors import BadInput, PrudentError, reason
from prudent.terminal import AsJson

if TYPE_CHECKING:
    import numpy as np

    from prudent.monitoring import Monitor
    from prudent.stream_marks import Mark
    from prudent.types import Certificate

DONE, ALARM = 0, 3


def monitor(
    certificate: Annotated[Path, typer.Argument(help="The certificate (JSON) whose risk is watched.")],
    stream: Annotated[
        Path | None, typer.Argument(help="JSON lines, one for each example served; default: standard input.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Where the watch is kept; default: NAME.monitor.json beside the certificate.")
    ] = None,
    delta: Annotated[
        float | None, typer.Option(help="Tolerated chance of any false alarm, ever; default: the certificate's delta.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Look, and save, after so many lines.")] = 100,
    again: Annotated[  # noqa: FBT002 (a flag of the command line)
        bool, typer.Option("--again", help="Count a file that was counted before once more.")
    ] = False,
    as_json: AsJson = False,  # noqa: FBT002 (a flag of the command line)
) -> int:
    """Watch whether a certified risk still holds in use. Exits with 3 when it is shown not to.

    Each line is {"prediction": 3, "dense": 3} for disagreement, {"prediction": 3, "label": 4} for error, all three for
    negative flips, or {"loss": 0.2} for any risk. The watch goes on where it stopped: give it the new lines only.
    """
    from prudent.certificates import verify
    from prudent.files import write_whole
    from prudent.monitoring import watch
    from prudent.stream_marks import Running, longer, mark

    claimed = verify(certificate)
    place = state or certificate.with_name(f"{certificate.stem}.monitor.json")
    key = hashlib.sha256(certificate.read_bytes()).hexdigest()
    loss = _loss_of(claimed)
    with _alone(place):
        now = _begun(place, key, claimed, delta)
        files, running = _counted(place, stream, again=again), Running()
        for lines in _chunks(stream, every):
            before = now.alarm
            losses, used, wrong = _losses(lines, loss, after=now.n)
            if len(losses):
                now = watch(now, losses)
                running = longer(running, lines[:used])
                write_whole(place, _written(now, key, [*files, mark(running, ended=False)] if stream else files))
            if now.alarm and not before and not as_json:
                typer.echo(_alarm(now, claimed))
            if wrong is not None:
                raise wrong
        if stream and running.lines:
            write_whole(place, _written(now, key, [*files, mark(running, ended=True)]))
    _say(now, place, as_json=as_json)
    return ALARM if now.alarm else DONE


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """One monitor for each state: the second of two would write over what the first has seen, its alarm too."""
    try:
        import fcntl
    except ImportError:  # not on this system; then whoever starts two is on their own
        yield
        return
    with place.with_name(f"{place.name}.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInput(f"another monitor is running on {place}: end it, or name another --state") from error
        yield


def _begun(place: Path, key: str, claimed: "Certificate", delta: float | None) -> "Monitor":
    """The watch as it was left, or a new one."""
    from prudent.files import read_file
    from prudent.monitoring import Monitor, monitor_from_json

    if claimed.selected is None or claimed.parts or claimed.group or claimed.risk == "calibration":
        raise BadInput(
            "a certificate of one risk of all examples can be watched, in which a network is certified; this one says: "
            + claimed.sentence()
        )
    low, high = _range(claimed.risk)
    level = (claimed.alpha - low) / (high - low)
    if not place.exists():
        counted = claimed.counts is not None
        return Monitor(
            alpha=level, delta=claimed.delta if delta is None else delta, bet="beta_mixture" if counted else "betting"
        )
    try:
        kept = json.loads(read_file(place))
        same, text = kept["certificate"] == key, json.dumps(kept["monitor"])
        whole = kept["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(f"{place} holds no watch of prudent ({reason(error)}): move it away to begin anew") from error
    if not same:
        raise BadInput(f"{place} is the watch of another certificate: name another --state")
    if not whole:
        raise BadInput(f"{place} was changed after it was written: move it away to begin anew")
    found = monitor_from_json(text)
    if found.alpha != level:
        raise BadInput(f"{place} watches another risk than the certificate's: name another --state")
    if delta is not None and delta != found.delta:
        raise BadInput(f"the watch in {place} began with delta={found.delta:g}; another needs another --state")
    return found


def _range(risk: str) -> tuple[float, float]:
    """What the losses 0 and 1 of a table stand for."""
    from prudent.risks import LOSSES

    return (LOSSES[risk].low, LOSSES[risk].high) if risk in LOSSES else (0.0, 1.0)


def _counted(place: Path, stream: Path | None, *, again: bool) -> "list[Mark]":
    """What a watch has counted of which files; of watches of the first versions none is known."""
    from prudent.files import read_file
    from prudent.stream_marks import check_uncounted, marks_from_json

    marks = marks_from_json(json.loads(read_file(place)).get("files", []) if place.exists() else [])
    if stream is not None and stream.is_file() and not again:  # what comes through a pipe can be read once only
        check_uncounted(stream, marks)
    return marks


def _written(now: "Monitor", key: str, files: "list[Mark]") -> str:
    from prudent.monitoring import monitor_to_json
    from prudent.stream_marks import marks_to_json

    state = json.loads(monitor_to_json(now))
    digest = hashlib.sha256(json.dumps(state).encode()).hexdigest()
    return json.dumps({"certificate": key, "monitor": state, "sha256": digest, "files": marks_to_json(files)}) + "\n"


def _chunks(stream: Path | None, every: int) -> Iterator[list[str]]:
    try:
        if stream is None:
            yield from _cut(sys.stdin, every)
        else:
            # ends of lines as they are: the mark of what was counted is of the file's own bytes
            with stream.open(encoding="utf-8", newline="") as lines:
                yield from _cut(lines, every)
    except (OSError, UnicodeDecodeError) as error:
        raise PrudentError(f"the stream cannot be read ({reason(error)})") from error


def _cut(lines: Iterator[str], every: int) -> Iterator[list[str]]:
    held: list[str] = []
    interrupted, full = False, 0
    try:
        for line in lines:
            held.append(line)
            full += bool(line.strip())
            if full == every:
                yield held
                held, full = [], 0
    except KeyboardInterrupt:
        interrupted = True
    if held:
        yield held  # also what came before an interrupt: it was served, and will not come again
    if interrupted:
        raise KeyboardInterrupt


def _losses(
    lines: list[str], loss: Callable[[dict[str, Any]], float], *, after: int
) -> "tuple[np.ndarray, int, BadInput | None]":
    """The losses up to the first line that is none, how many lines that are, and what to say of that line."""
    import numpy as np

    found: list[float] = []
    for used, line in enumerate(lines):
        if not line.strip():
            continue
        number = after + len(found) + 1
        try:
            value = float(loss(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            return (
                np.array(found),
                used,
                BadInput(
                    f"example {number} of the stream is not as the risk needs it ({reason(error)}): "
                    f"{line.strip()[:80]!r}; everything before it was counted"
                ),
            )
        if not 0 <= value <= 1:
            return (
                np.array(found),
                used,
                BadInput(
                    f"example {number} of the stream has a loss outside of the risk's range; everything before it "
                    "was counted"
                ),
            )
        found.append(value)
    return np.array(found), len(lines), None


def _loss_of(claimed: "Certificate") -> Callable[[dict[str, Any]], float]:
    """(a line) -> its loss on the scale from 0 to 1."""
    low, high = _range(claimed.risk)
    known: dict[str, Callable[[dict[str, Any]], float]] = {
        "error": lambda said: not _same(said, "prediction", "label"),
        "disagreement": lambda said: not _same(said, "prediction", "dense"),
        "negative_flip": lambda said: _same(said, "dense", "label") and not _same(said, "prediction", "label"),
        "accuracy_drop": lambda said: _same(said, "dense", "label") - _same(said, "prediction", "label"),
    }

    def loss(said: dict[str, Any]) -> float:
        raw = said["loss"] if "loss" in said or claimed.risk not in known else known[claimed.risk](said)
        return (float(raw) - low) / (high - low)

    return loss


def _same(said: dict[str, Any], one: str, other: str) -> bool:
    """Whether two classes are the same; 3, "3" and null are of different kinds and cannot be compared."""
    a, b = said[one], said[other]
    if type(a) is not type(b) or type(a) not in (int, str):
        raise TypeError(f"{one} and {other} must both be whole numbers, or both be texts")
    return bool(a == b)


def _alarm(now: "Monitor", claimed: "Certificate") -> str:
    return (
        f"ALARM after {now.alarm_at:,} examples: it is no longer true that {claimed.bounded()}. If it were, an alarm "
        f"would ever come with a chance of at most {now.delta:g}."
    )


def _say(now: "Monitor", place: Path, *, as_json: bool) -> None:
    import math

    if as_json:
        said = {"examples": now.n, "loss": now.lost / max(1, now.n), "alarm_at": now.alarm_at, "state": str(place),
                "log_evidence": now.log_evidence, "alarm_from": -math.log(now.delta)}  # fmt: skip
        typer.echo(json.dumps(said, indent=1))
        return
    share = math.exp(min(0.0, now.log_evidence + math.log(now.delta)))
    state = f"an alarm was raised after {now.alarm_at:,}" if now.alarm else f"no alarm; evidence at {share:.1%} of one"
    typer.echo(f"{now.n:,} examples watched, mean loss {now.lost / max(1, now.n):.4f}: {state}. Kept in {place}")
