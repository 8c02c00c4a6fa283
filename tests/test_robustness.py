"""What goes wrong ends in a video or a message of two lines; `python tests/robustness.py` prints the counts."""

import pytest
import robustness


@pytest.mark.slow
def test_nothing_ends_in_a_traceback_a_hang_or_a_file_that_nobody_needs():
    counts, faults = robustness.prove()
    print(*counts.items(), sep="\n")
    assert faults == []
    assert {group: count["leftovers"] for group, count in counts.items()} == dict.fromkeys(counts, 0)
    assert sum(counts["photos"].values()) == sum(counts["recordings"].values()) == 200
