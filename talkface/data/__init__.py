"""Data sets on disk: the clip format and its reader, training batches, and the layouts of LRW, GRID and folders."""
