"""Short labels for files and clips, in figures and on contact sheets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def distinguishing_labels(names: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """Return for each name the part of it that distinguishes it from the others.

    That is its last part, preceded by as many parts as are needed. Trailing parts that all names share are left out:
    the labels of a/v and b/v are a and b. Names that are equal get a number.

    Args:
        names: paths without suffix, their parts separated by "/".
        taken: labels that no name may get.
    """
    parts = [name.split("/") for name in names]
    lengths = [1] * len(parts)
    while True:
        labels = ["/".join(part[-length:]) for part, length in zip(parts, lengths, strict=True)]
        times = Counter([*taken, *labels])
        longer = [i for i, label in enumerate(labels) if times[label] > 1 and lengths[i] < len(parts[i])]
        if not longer:
            break
        for i in longer:
            lengths[i] += 1
    labels = _without_common_end(labels, taken)
    earlier = [labels[:number].count(label) for number, label in enumerate(labels)]
    return [f"{label} {count + 1}" if count else label for label, count in zip(labels, earlier, strict=True)]


def _without_common_end(labels: list[str], taken: Sequence[str]) -> list[str]:
    """The labels without the last parts that are the same in all of them."""
    while len(set(labels)) > 1:
        heads, ends = zip(*(label.rpartition("/")[::2] for label in labels), strict=True)
        if not all(heads) or len(set(ends)) > 1 or set(heads) & set(taken):
            break
        labels = list(heads)
    return labels
