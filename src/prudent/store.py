"""Finished work: content-addressed objects and create-only records, whole or absent, wherever obstore can write.

    FORMAT                   {"schema": 1}
    cells/ab/<key>.json      the commit of a cell: what it is, and the hashes of its outputs
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
            schema = json.loads(bytes(get(store, "FORMAT").bytes())).get("schema")
            if not isinstance(schema, int) or schema > SCHEMA:
                raise BadInput(
                    f"the store {self.location!r} has format {schema}, this version of prudent reads up to {SCHEMA}"
                ) from None

    def commit(self, key: str, record: Mapping[str, object], outputs: Mapping[str, bytes]) -> bool:
        """Write the outputs of a cell, then its record. False if it was committed before; then nothing is changed.

        Args:
            key: of the cell.
            record: JSON values; the outputs' hashes and sizes are added under "outputs".
            outputs: name -> bytes.
        """
        try:
            described = {}
            for name, data in outputs.items():
                digest = hashlib.sha256(data).hexdigest()
                put(self._store, _object(digest), data)
                described[name] = {"sha256": digest, "bytes": len(data)}
            text = json.dumps({**record, "outputs": described}, sort_keys=True, indent=1).encode()
            put(self._store, _cell(key), text, mode="create")
        except AlreadyExistsError:
            return False
        except (BaseError, OSError) as error:
            raise self._unusable(error) from error
        return True

    def record(self, key: str) -> dict[str, Any] | None:
        """The record of a finished cell; None if the cell is not finished, or its outputs are not all there whole.

        Sizes are compared here; hashes when the outputs are read.
        """
        try:
            try:
                record = json.loads(bytes(get(self._store, _cell(key)).bytes()))
                outputs = {o["sha256"]: o["bytes"] for o in record["outputs"].values()}
            except (NotFoundError, FileNotFoundError):
                return None
            except (ValueError, KeyError, TypeError, AttributeError):
                self._drop(key)
                return None
            for digest, size in outputs.items():
                if self._size(digest) != size:
                    self._drop(key)
                    return None
        except (BaseError, OSError) as error:
            raise self._unusable(error) from error
        return dict(record)

    def read(self, key: str, name: str) -> bytes:
        """One output of a finished cell.

        Raises:
            DamagedStore: the cell is not finished, or the bytes are not those that were written. The record is then
                dropped, so that the cell will be computed again.
        """
        record = self.record(key)
        if record is None or name not in record["outputs"]:
            raise DamagedStore(f"cell {key[:12]} has no whole output {name!r} in {self.location!r}: run again")
        digest = record["outputs"][name]["sha256"]
        try:
            data = bytes(get(self._store, _object(digest)).bytes())
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
        delete(self._store, _cell(key))

    def _unusable(self, error: Exception) -> PrudentError:
        return PrudentError(f"the store {self.location!r} cannot be used: {reason(error)}")


def _cell(key: str) -> str:
    return f"cells/{key[:2]}/{key}.json"


def _object(digest: str) -> str:
    return f"objects/{digest[:2]}/{digest}"
