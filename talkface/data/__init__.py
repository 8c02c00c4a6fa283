"""Clips on disk: the packed format, its reader, and the layouts of LRW, GRID and plain folders."""
