"""ResNet-20 on CIFAR-10 with fewer channels: cut, proved, fine-tuned, exported and timed. Writes docs/resnet20.md.

python -m benchmarks.resnet20                             # a subset of the examples; goes on where it was interrupted
python -m benchmarks.resnet20 --train 0 --test 10000      # all of them

Reads $PRUDENT_DATA/cifar10 and the published weights in $PRUDENT_DATA/../models, or where --weights says.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

import prudent
from benchmarks.resnet20_page import CANDIDATES, SHARES, Outcome, Settings, Timing, page
from prudent.batches import Batches
from prudent.building import build
from prudent.data.cifar10 import cifar10
from prudent.errors import BadInput
from prudent.export import export_onnx
from prudent.network import macs, parameters
from prudent.reestimation import reestimate
from prudent.speed import Race, bench
from prudent.splits import Examples
from prudent.training import Epoch

PAGE = Path(__file__).parent.parent / "docs" / "resnet20.md"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the colours, as the published weights want them."""
CHOSEN_AT = 0.5
"""Share of the multiply-accumulates at which the third method is chosen."""


def main() -> None:
    """Make what is not in the log yet, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resnet20", description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, default=4000, help="examples for fine-tuning; 0 for all 40,000")
    parser.add_argument("--test", type=int, default=5000, help="examples that accuracy is reported on, at most 10,000")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--turns", type=int, default=30, help="timed passes of each network")
    parser.add_argument("--out", type=Path, default=Path("runs/resnet20"))
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="levels, of the dense network's MACs")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    settings = Settings(train=asked.train, test=asked.test, epochs=asked.epochs, lr=asked.lr, turns=asked.turns)
    weights = asked.weights or Path(os.environ.get("PRUDENT_DATA", ".")) / "../models/resnet20_cifar10.safetensors"
    log = Log(asked.out / "log.jsonl", settings)
    dense, data = published(weights), examples(settings)
    finish(log, dense, data, settings, asked.out, shares=asked.shares)
    PAGE.write_text(page(settings, log.of(Outcome), log.of(Timing), log.choice()))


def published(path: Path) -> nn.Module:
    """The network with the published weights, in evaluation mode.

    Raises:
        BadInput: the file is absent, or holds another network.
    """
    if not path.is_file():
        raise BadInput(f"the published weights are expected at {path}: say where they are with --weights")
    model = build("resnet_cifar", (3, 32, 32), 10, seed=0, options={})
    told = model.load_state_dict(load_file(path), strict=False)
    # older torch did not count the batches that a normalisation has seen
    missing = [name for name in told.missing_keys if not name.endswith("num_batches_tracked")]
    if missing or told.unexpected_keys:
        raise BadInput(f"{path} is no ResNet-20: it lacks {missing[:3]} and has {told.unexpected_keys[:3]} besides")
    return model.eval()


def examples(settings: Settings) -> dict[str, Batches]:
    """Train, validation and test split, normalised."""
    data = cifar10(train=settings.train or None, test=settings.test)
    return {name: normalised(data.splits[name]) for name in ("train", "validation", "test")}


def normalised(split: Examples) -> Batches:
    """Images in [0, 1] (n, 3, height, width) with the mean and deviation of the published weights."""
    mean, deviation = (torch.tensor(three).view(3, 1, 1) for three in (MEAN, DEVIATION))
    inputs = (torch.from_numpy(split.inputs) - mean) / deviation
    labels = None if split.labels is None else torch.from_numpy(split.labels)
    return Batches(inputs=inputs, labels=labels, size=128, split=split.split)


def first(batches: Batches, most: int) -> Batches:
    """The first so many examples."""
    labels = None if batches.labels is None else batches.labels[:most]
    return Batches(inputs=batches.inputs[:most], labels=labels, size=batches.size, split=batches.split)


class Log:
    """Lines of JSON: one for each network, each timing, and the chosen method. Lines of other settings are skipped."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path, self.settings = path, asdict(settings)

    def lines(self) -> Iterator[dict[str, Any]]:
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            about = json.loads(line)
            if about.pop("settings") == self.settings:
                yield about

    def add(self, **about: object) -> None:
        self.add_all(**{kind: [one] for kind, one in about.items()})

    def add_all(self, **about: list[object]) -> None:
        """Several lines at once, so that a level is timed as a whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({"settings": self.settings, k: one}) for k, ones in about.items() for one in ones]
        with self.path.open("a") as file:
            file.write("\n".join(lines) + "\n")

    def of(self, kind: type) -> list[Any]:
        found = [about[kind.__name__] for about in self.lines() if kind.__name__ in about]
        return [kind(**{key: _restored(key, value) for key, value in one.items()}) for one in found]

    def choice(self) -> dict[str, float]:
        return next((about["choice"] for about in self.lines() if "choice" in about), {})


def _restored(key: str, value: Any) -> Any:
    """A field as it was before it became JSON."""
    if key == "race":
        return Race(**value)
    return tuple(value) if isinstance(value, list) else value


def finish(
    log: Log,
    dense: nn.Module,
    data: dict[str, Batches],
    settings: Settings,
    out: Path,
    *,
    shares: Sequence[float] = SHARES,
) -> None:
    """Make every line that the log does not have yet."""
    known = {(o.method, o.share) for o in log.of(Outcome)}
    timed = {t.share for t in log.of(Timing)}
    print(f"kept from before: {len(known)} networks, timings of {len(timed)} levels", flush=True)
    for method in ("published", "dense"):
        if (method, 1.0) not in known:
            network = dense if method == "published" else tuned(dense, data, settings)
            log.add(Outcome=asdict(outcome(network, method, 1.0, data, out)))
    for share in shares:
        masks = Masks(dense, share, data)
        choice = log.choice() or choose(log, masks if share == CHOSEN_AT else Masks(dense, CHOSEN_AT, data), data)
        for method in ("magnitude", "random", max(choice, key=lambda name: choice[name])):
            if (method, share) not in known:
                log.add(Outcome=asdict(one(masks, method, data, settings, out)))
        if share not in timed:
            log.add_all(Timing=[asdict(timing) for timing in timings(masks, data, settings)])


class Masks:
    """Masks of one size: every method removes as many channels of each layer, so that only the choice differs."""

    def __init__(self, dense: nn.Module, share: float, data: dict[str, Batches]) -> None:
        self.dense, self.share, self.data = dense, share, data
        self.example = data["validation"].inputs[:2]
        self._magnitude: prudent.Pruned | None = None

    def of(self, method: str) -> prudent.Pruned:
        if self._magnitude is None:
            self._magnitude = prudent.prune(
                self.dense, macs=int(self.share * macs(self.dense, self.example)), granularity="channel",
                scope="layer", example=self.example,
            )  # fmt: skip
        if method == "magnitude":
            return self._magnitude
        return prudent.prune(
            self.dense, like=self._magnitude.mask, score=method, granularity="channel", scope="layer",
            example=self.example, batches=first(self.data["train"], 1024) if method == "activation_mean" else None,
        )  # fmt: skip


def choose(log: Log, masks: Masks, data: dict[str, Batches]) -> dict[str, float]:
    """Accuracy of the candidates on 1,000 validation examples, cut and with statistics estimated anew, not trained."""
    some = first(data["validation"], 1000)
    found = {name: right(reestimate(masks.of(name).model, first(data["train"], 1024)), some) for name in CANDIDATES}
    log.add(choice=found)
    print(found, flush=True)
    return found


def one(masks: Masks, method: str, data: dict[str, Batches], settings: Settings, out: Path) -> Outcome:
    """One smaller network, from the mask to the file that ships."""
    pruned = masks.of(method)
    small = prudent.shrink(pruned, masks.example)
    fresh = reestimate(small.model, first(data["train"], 1024))
    before, start = right(fresh, first(data["validation"], 1000)), time.perf_counter()
    trained = tuned(fresh, data, settings)
    return outcome(
        trained, method, masks.share, data, out, sparsity=pruned.sparsity, proof=small.proof.difference,
        untrained=before, seconds=time.perf_counter() - start,
    )  # fmt: skip


def tuned(model: nn.Module, data: dict[str, Batches], settings: Settings) -> nn.Module:
    """Fine-tuned on the train split."""

    def say(epoch: Epoch) -> None:
        print(f"  epoch {epoch.index}: error {epoch.error:.3f} in {epoch.seconds:.0f} s", flush=True)

    return prudent.train(
        model, data["train"], epochs=settings.epochs, lr=settings.lr, optimizer="sgd", weight_decay=5e-4,
        schedule="one_cycle", on_epoch=say,
    )  # fmt: skip


def outcome(
    model: nn.Module,
    method: str,
    share: float,
    data: dict[str, Batches],
    out: Path,
    *,
    sparsity: float = 0.0,
    proof: float | None = None,
    untrained: float | None = None,
    seconds: float = 0.0,
) -> Outcome:
    """Accuracy on the test split, and the export compared on test inputs."""
    test = data["test"]
    error = prudent.evaluate(prudent.predict(model, test))["error"]
    file = export_onnx(
        model, out / f"{method}-{100 * share:.0f}.onnx", test.inputs[:2], check=test.inputs[:256], batch=32
    )
    made = Outcome(
        method=method, share=share, sparsity=sparsity, macs=macs(model, test.inputs[:1]), params=parameters(model),
        proof=proof, untrained=untrained, error=error.value, lo=limit(error.lo), hi=limit(error.hi),
        difference=file.relative, agreement=file.agreement, bytes=file.bytes, seconds=seconds,
    )  # fmt: skip
    print(made, flush=True)
    return made


def limit(value: float | None) -> float:
    """A limit of the interval of a share, which always has one."""
    assert value is not None
    return value


def right(model: nn.Module, batches: Batches) -> float:
    """Share of the examples that are decided right."""
    return 1 - prudent.evaluate(prudent.predict(model, batches))["error"].value


def timings(
    masks: Masks, data: dict[str, Batches], settings: Settings, clock: Callable[[], float] = time.perf_counter
) -> list[Timing]:
    """The smaller network beside the dense one. All methods leave the same sizes, so one of them is timed."""
    small = prudent.shrink(masks.of("magnitude"), masks.example)
    before = os.getloadavg()[0]
    speeds = bench(
        small, masks.dense, data["test"].inputs[:32], runtimes=("eager", "onnxruntime"), batches=(1, 32),
        turns=settings.turns, clock=clock,
    )  # fmt: skip
    if speeds.unmeasured:
        raise BadInput(f"ResNet-20 is timed in eager and ONNX Runtime, which do not work here: {speeds.unmeasured}")
    return [
        Timing(share=masks.share, macs_ratio=speeds.macs_ratio, load=before, race=race, warnings=speeds.warnings)
        for race in speeds.races
    ]


if __name__ == "__main__":
    main()
