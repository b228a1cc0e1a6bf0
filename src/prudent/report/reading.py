"""A finished run as the views ask for it: methods, certificates, and networks by method, candidate and seed."""

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from statistics import fmean
from typing import Any

from prudent.errors import BadInput
from prudent.settings import Method as MethodSettings
from prudent.types import Certificate

Address = tuple[str, str, int]
"""Of a certificate: method, risk, seed."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to prune.

    Args:
        index: its place in the study.
        name: its short name, for labels and addresses.
        title: its name in words.
        granularity: "weight" or "channel".
        scope: "global" or "layer".
        score: importance score.
        control_of: the method whose counts this one copies at random, None for a method of its own.
        sparsities: asked for, ascending: one candidate each.
    """

    index: int
    name: str
    title: str
    granularity: str
    scope: str
    score: str
    control_of: str | None
    sparsities: tuple[float, ...]

    @property
    def units(self) -> str:
        """What is removed: "weights" or "channels"."""
        return f"{self.granularity}s"


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What came out when the certificates were recomputed from their stored losses.

    Args:
        held: number of certificates that hold.
        broken: (file, reason) of each that does not, that says something else than the results, or that is not there.
    """

    held: int
    broken: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Run:
    """The numbers of a run, and what recomputing its certificates came to.

    Args:
        results: as `prudent.run_folder.read_results` returns them.
        verification: of the certificates.
    """

    results: dict[str, Any]
    verification: Verification

    @cached_property
    def study(self) -> dict[str, Any]:
        """All settings."""
        return dict(self.results["study"])

    @cached_property
    def data(self) -> dict[str, Any]:
        """Name, classes, fingerprint, sizes of the splits, and "ood" where there are strangers."""
        return dict(self.results["data"])

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in the study's order."""
        return tuple(self.study["seeds"])

    @cached_property
    def methods(self) -> tuple[Method, ...]:
        """The methods, in the study's order."""
        return tuple(_method(i, given) for i, given in enumerate(self.study["methods"]))

    @cached_property
    def certificates(self) -> dict[Address, Certificate]:
        """Every certificate of the run."""
        return {(c["method"], c["risk"], c["seed"]): certificate_of(c) for c in self.results["certificates"]}

    @cached_property
    def files(self) -> dict[Address, str]:
        """Where each certificate lies in the run folder."""
        return {(c["method"], c["risk"], c["seed"]): c["file"] for c in self.results["certificates"]}

    @cached_property
    def broken(self) -> frozenset[Address]:
        """The certificates that do not hold when recomputed."""
        files = {file for file, _ in self.verification.broken}
        return frozenset(address for address, file in self.files.items() if file in files)

    @cached_property
    def declared(self) -> Address:
        """The one claim that the study made beforehand."""
        claim = self.study["certification"]["declared"]
        return claim["method"], claim["risk"], claim["seed"]

    @property
    def certificate(self) -> Certificate:
        """The certificate of the declared claim."""
        return self.certificates[self.declared]

    @property
    def declared_method(self) -> Method:
        """The method of the declared claim."""
        return next(m for m in self.methods if m.name == self.declared[0])

    @property
    def risks(self) -> list[str]:
        """The certified risks, the declared one first."""
        return sorted(self.study["certification"]["risks"], key=lambda risk: risk != self.declared[1])

    @cached_property
    def _networks(self) -> dict[tuple[int, str, float], dict[str, Any]]:
        return {(n["seed"], n["method"], n["requested"]): n for n in self.results["networks"]}

    def dense(self, seed: int) -> dict[str, Any]:
        """The dense network of a seed."""
        return self._networks[seed, "", 0.0]

    def network(self, method: Method, i: int, seed: int) -> dict[str, Any]:
        """The network of a method's i-th sparsity."""
        return self._networks[seed, method.name, method.sparsities[i]]

    def dense_networks(self) -> list[dict[str, Any]]:
        """The dense networks, one for each seed."""
        return [self.dense(seed) for seed in self.seeds]

    def networks(self, method: Method, i: int) -> list[dict[str, Any]]:
        """The networks of a method's i-th sparsity, one for each seed."""
        return [self.network(method, i, seed) for seed in self.seeds]

    def candidates(self) -> Iterator[tuple[Method, int]]:
        """Every method with each of its sparsities."""
        for method in self.methods:
            for i in range(len(method.sparsities)):
                yield method, i

    def sparsity(self, method: Method, i: int) -> float:
        """Achieved sparsity, mean over the seeds."""
        return fmean(float(n["sparsity"]) for n in self.networks(method, i))

    @property
    def has_ood(self) -> bool:
        """Whether the networks were shown strangers."""
        return "ood" in self.data

    @property
    def samples(self) -> int | None:
        """How many dropout samples were drawn of every network, None without."""
        asked = self.study["evaluation"]
        whole: int | None = (asked.get("mc_dropout") or {}).get("samples")
        few: int | None = asked["mc_samples"]
        return few if whole is None else whole

    @property
    def has_dropout(self) -> bool:
        """Whether the networks were also asked under dropout."""
        return all("mc_metrics" in n for n in self.results["networks"])

    @cached_property
    def start(self) -> tuple[Method, int]:
        """What the page looks at first: the certified network of the declared claim, or where its walk stopped."""
        return self.declared_method, self.certificate.selected or 0


def certificate_of(entry: dict[str, Any]) -> Certificate:
    """The certificate in an entry of the results.

    Raises:
        BadInput: the entry is not one.
    """
    try:
        # what earlier results do not say is what it was then
        given: dict[str, Any] = {
            f.name: entry[f.name] for f in fields(Certificate) if f.name in entry or f.default is MISSING
        }
    except KeyError as error:
        raise BadInput(f"the results hold a certificate without {error}") from error
    given |= {key: tuple(value) for key, value in given.items() if isinstance(value, list)}
    return Certificate(**given)


def _method(index: int, given: dict[str, Any]) -> Method:
    return Method(
        index=index,
        name=given["name"],
        title=MethodSettings.model_construct(**given).display,
        granularity=given["granularity"],
        scope="fractions" if given.get("fractions") else given["scope"],  # earlier results do not say
        score=given["score"],
        control_of=given["control_of"],
        sparsities=tuple(given["sparsities"]),
    )
