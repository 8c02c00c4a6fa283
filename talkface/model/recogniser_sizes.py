"""Sizes and times of the speech recogniser's features, which are needed without its network."""

from __future__ import annotations

WIDTH = 384  # numbers of a vector
VECTORS_PER_SECOND = 50
PADDING = 0.3  # seconds of silence before and after a sound
WINDOW, STRIDE = 10.0, 8.0  # seconds heard at a time, and from one window to the next
FEATURES = 2 * WIDTH  # of one video frame: two vectors, 10 ms before and after its middle
