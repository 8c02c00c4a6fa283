"""Results that several renderings share: loaded networks, and the face of a photo that recurs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Result = TypeVar("Result")
LIMIT = 64  # results that are kept


class Kept:
    """Makes each result once and returns it again for the same key; beyond `limit` the one unused longest is dropped.

    Example:
        >>> kept = Kept()
        >>> kept.once("four", lambda: 2 + 2)
        4

    Args:
        limit: number of results that are kept; 0 keeps none.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._results: OrderedDict[Hashable, Any] = OrderedDict()

    def once(self, key: Hashable, make: Callable[[], Result]) -> Result:
        """Return the result for `key`, which `make` makes if it is not there. What `make` raises is not kept."""
        if key not in self._results:
            result = make()
            if not self._limit:
                return result
            self._results[key] = result
            if len(self._results) > self._limit:
                self._results.popitem(last=False)
        self._results.move_to_end(key)
        return self._results[key]
