"""Labels of files and clips."""

import pytest

from talkface.labels import distinguishing_labels


@pytest.mark.parametrize(
    "names, labels",
    [
        (["s1/bbaf2n", "s2/lwiz3p"], ["bbaf2n", "lwiz3p"]),
        (["x/a/v", "x/b/v", "x/c/v"], ["a", "b", "c"]),
        (["one/talk/v/1", "two/talk/v/1"], ["one", "two"]),
        (["s1/x", "s1/y", "s2/x"], ["s1/x", "y", "s2/x"]),
        (["v"], ["v"]),
        (["a/v", "a/v"], ["a/v", "a/v 2"]),
        ([], []),
    ],
)
def test_a_label_is_the_part_of_a_name_that_differs(names, labels):
    assert distinguishing_labels(names) == labels


def test_a_label_that_is_taken_gets_a_longer_part_of_the_name():
    assert distinguishing_labels(["a/model", "b/still"], taken=["model"]) == ["a/model", "still"]
    assert distinguishing_labels(["a/v", "b/v"], taken=["a"]) == ["a/v", "b/v"]
