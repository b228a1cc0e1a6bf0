"""Finished work: content-addressed objects and create-only records, whole or absent, wherever obstore can write.

    FORMAT                   {"schema": 1}
    cells/ab/<key>.json      the commit of a cell: what it is, the hashes of its outputs, and a hash of all that
    objects/ab/<sha256>      bytes; the same name always means the same bytes

Objects are written first, the record last, and a record is never overwritten: what has a record is finished, and two
runners that finish the same cell leave one record.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from obstore import delete, get, head, put
from obstore import list as list_objects
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import LocalStore, from_url

from prudent.errors import BadInput, DamagedStore, PrudentError, reason
from prudent.keys import canonical

SCHEMA = 1
FIELDS: dict[str, tuple[type, ...]] = {
    "kind": (str,), "values": (dict,), "seconds": (int, float), "environment": (dict,)
}  # fmt: skip
"""What every record has, besides its outputs, its key and its own hash."""


@dataclass(frozen=True)
class Store:
    """A place for finished cells.

    Args:
        location: a folder (made if absent), or a URL that obstore knows (s3://, gs://, az://).

    Raises (all methods):
        PrudentError: the place cannot be reached, or is full.
    """

    location: str

    @cached_property
    def _store(self) -> Any:  # noqa: ANN401 (one of obstore's stores)
        try:
            store = from_url(self.location) if "://" in self.location else LocalStore(self.location, mkdir=True)
            self._check_format(store)
        except PrudentError:
            raise
        except (BaseError, OSError, ValueError) as error:
            raise self._unusable(error) from error
        return store

    def _check_format(self, store: Any) -> None:  # noqa: ANN401
        try:
            put(store, "FORMAT", json.dumps({"schema": SCHEMA}).encode(), mode="create")
        except AlreadyExistsError:
            try:
                schema = json.loads(bytes(get(store, "FORMAT").bytes()))["schema"]
            except (ValueError, KeyError, TypeError) as error:
                raise BadInput(
                    f"the FORMAT file of the store {self.location!r} is none that prudent wrote ({reason(error)}): "
                    "give another folder, or restore the file"
                ) from error
            if not isinstance(schema, int) or schema > SCHEMA:
                raise BadInput(
                    f"the store {self.location!r} has format {schema}, this version of prudent reads up to {SCHEMA}"
                ) from None

    def commit(self, key: str, record: Mapping[str, object], outputs: Mapping[str, bytes]) -> bool:
        """Write the outputs of a cell, then its record. False if it was committed before; then nothing is changed.

        Args:
            key: of the cell.
            record: JSON values, of which "kind", "values", "seconds" and "environment" are needed; the outputs' hashes
                and sizes are added under "outputs", the cell's key under "key", and a hash of all that under "sha256".
            outputs: name -> bytes.

        Raises:
            BadInput: something that every record needs is missing.
        """
        missing = [name for name in FIELDS if name not in record]
        if missing:
            raise BadInput(f"the record of a cell needs {', '.join(FIELDS)}; it has no {missing[0]!r}")
        try:
            described = {}
            for name, data in outputs.items():
                digest = hashlib.sha256(data).hexdigest()
                put(self._store, _object(digest), data)
                described[name] = {"sha256": digest, "bytes": len(data)}
            whole = json.loads(json.dumps({**record, "outputs": described, "key": key}))  # as it will be read
            text = json.dumps(whole | {"sha256": _seal(whole)}, sort_keys=True, indent=1).encode()
            put(self._store, _cell(key), text, mode="create")
        except AlreadyExistsError:
            return False
        except (BaseError, OSError) as error:
            raise self._unusable(error) from error
        return True

    def record(self, key: str) -> dict[str, Any] | None:
        """The record of a finished cell; None if the cell is not finished, or its outputs are not all there whole.

        A record that was changed since it was committed is dropped. Of outputs the sizes are compared here; hashes when
        they are read.
        """
        try:
            try:
                record = _checked(key, json.loads(bytes(get(self._store, _cell(key)).bytes())))
                outputs = {o["sha256"]: o["bytes"] for o in record["outputs"].values()}
            except (NotFoundError, FileNotFoundError):
                return None
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                self._drop(key)
                return None
            for digest, size in outputs.items():
                if self._size(digest) != size:
                    self._drop(key)
                    return None
        except (BaseError, OSError) as error:
            raise self._unusable(error) from error
        return dict(record)

    def read(self, key: str, name: str, *, record: Mapping[str, Any] | None = None) -> bytes:
        """One output of a finished cell.

        Args:
            key: of the cell.
            name: of the output.
            record: of the cell, if it is at hand; else it is looked up, which asks for every one of its outputs.

        Raises:
            DamagedStore: the cell is not finished, has no such output, or the bytes are not those that were written.
                The record is then dropped, so that the cell will be computed again.
        """
        record = self.record(key) if record is None else record
        if record is None or name not in record["outputs"]:
            self._drop(key)
            raise DamagedStore(f"cell {key[:12]} has no whole output {name!r} in {self.location!r}: run again")
        digest = record["outputs"][name]["sha256"]
        try:
            data = bytes(get(self._store, _object(digest)).bytes())
        except (NotFoundError, FileNotFoundError):
            data = b""
        except (BaseError, OSError) as error:
            raise self._unusable(error) from error
        if hashlib.sha256(data).hexdigest() != digest:
            self._drop(key)
            raise DamagedStore(
                f"output {name!r} of cell {key[:12]} was damaged in {self.location!r}; it will be made again"
            )
        return data

    def declare(self, examples: str, claim: Mapping[str, object]) -> int:
        """Note that a claim was declared for certification examples, before any of its losses is looked at.

        Args:
            examples: their fingerprint.
            claim: JSON values: all that makes it another claim.

        Returns: how many other claims were declared for the same examples in this store, earlier or later.
        """
        text = canonical(claim)
        name = hashlib.sha256(text).hexdigest()
        folder = f"claims/{examples}"
        try:
            with suppress(AlreadyExistsError):
                put(self._store, f"{folder}/{name}.json", text, mode="create")
            found = [entry["path"] for page in list_objects(self._store, prefix=folder) for entry in page]
        except (BaseError, OSError) as error:
            raise self._unusable(error) from error
        return sum(not path.endswith(f"{name}.json") for path in found)

    def drop_damaged(self, keys: Iterable[str]) -> None:
        """Read every output of the given cells, and drop the records of those that are not whole."""
        for key in keys:
            with suppress(DamagedStore):
                for name in (self.record(key) or {"outputs": {}})["outputs"]:
                    self.read(key, name)

    def _size(self, digest: str) -> int | None:
        try:
            return int(head(self._store, _object(digest))["size"])
        except (NotFoundError, FileNotFoundError):
            return None

    def _drop(self, key: str) -> None:
        with suppress(NotFoundError, FileNotFoundError):
            delete(self._store, _cell(key))

    def _unusable(self, error: Exception) -> PrudentError:
        return PrudentError(f"the store {self.location!r} cannot be used: {reason(error)}")


def _seal(record: Mapping[str, Any]) -> str:
    """sha256 over all of a record but this hash itself. NaN, of a training that diverged, is allowed."""
    rest = {name: value for name, value in record.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _checked(key: str, record: dict[str, Any]) -> dict[str, Any]:
    """The record, if it is the one that was committed for this key."""
    if record["sha256"] != _seal(record) or record["key"] != key:
        raise ValueError("the record was changed")
    if not all(isinstance(record[name], kinds) for name, kinds in FIELDS.items()):
        raise TypeError("the record is incomplete")
    return record


def _cell(key: str) -> str:
    return f"cells/{key[:2]}/{key}.json"


def _object(digest: str) -> str:
    return f"objects/{digest[:2]}/{digest}"
