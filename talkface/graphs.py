"""Networks exported as ONNX graphs, which ONNX Runtime runs on a CPU without PyTorch.

The graphs of NAME.safetensors are the files NAME.PART.onnx beside it. A graph holds operations only and reads its
weights from NAME.safetensors, so it belongs to that file alone: the SHA-256 of the weights is stored in the graph.
`talkface.model.export` writes graphs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from talkface.device import cores
from talkface.errors import TalkfaceError

if TYPE_CHECKING:
    import numpy as np

MAX_THREADS = 2  # the networks are too small for more
_limit = MAX_THREADS
WEIGHTS_HASH = "weights_sha256"  # metadata of a graph


def graph_path(weights: Path, part: str) -> Path:
    """Return the path of a graph of a weights file, such as generator.frame.onnx for generator.safetensors."""
    return weights.with_name(f"{weights.stem}.{part}.onnx")


def graphs_state(weights: Path, parts: Iterable[str], digest: str) -> str:
    """Tell whether the graphs of a weights file can be used.

    Args:
        weights: the .safetensors file.
        parts: the graphs that it has.
        digest: SHA-256 of the weights file in hexadecimal.

    Returns:
        "current", "missing", or "stale": exported from other weights, or not readable.
    """
    paths = [graph_path(weights, part) for part in parts]
    if not all(path.is_file() for path in paths):
        return "missing"
    try:
        # The metadata lie uncompressed in the file, which has a few hundred kilobytes.
        return "current" if all(digest.encode() in path.read_bytes() for path in paths) else "stale"
    except OSError:
        return "stale"


def limit_threads(count: int) -> None:
    """Let the graphs of this process use no more than `count` threads each, for example one in each of many workers."""
    global _limit
    _limit = count


def thread_count() -> int:
    """Return the number of threads of a graph: two, or one where this process may use one core only."""
    return min(_limit, cores())


class Graph:
    """A graph that is ready to run.

    Threads sleep while they wait, instead of spinning: beside other busy processes this is twice as fast.

    Args:
        path: of the .onnx file; its weights lie beside it.
        threads: None takes `thread_count()`.

    Raises:
        TalkfaceError: the file is missing, damaged or not a graph, or its weights cannot be read.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        onnxruntime = _onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = thread_count() if threads is None else threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors, which are also raised
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        self._run_options = onnxruntime.RunOptions()
        self._run_options.only_execute_path_to_fetches = True
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has no common class of errors, and some derive from Exception alone
            raise TalkfaceError(
                f"The graph {path} cannot be loaded: {str(error).splitlines()[0]}",
                "Export it again with `talkface export`, or use --backend torch.",
            ) from error
        self._inputs = [one.name for one in self._session.get_inputs()]
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map

    def __call__(self, inputs: Mapping[str, np.ndarray], outputs: list[str] | None = None) -> list[Any]:
        """Run the graph.

        Args:
            inputs: arrays by name; those that the graph does not use are left out.
            outputs: names of the outputs that are wanted; what only the others need is not computed. None: all.

        Returns:
            The outputs as arrays.
        """
        used = {name: inputs[name] for name in self._inputs}
        return self._session.run(outputs, used, self._run_options)


def _onnxruntime() -> ModuleType:
    """Import ONNX Runtime, here because the command line imports nothing heavy at the top, and without its telemetry.

    Recent builds for Linux and macOS report to Microsoft, and keep an identifier of the device and a
    database in the user's home, unless this variable is set before they are loaded. A user's own setting is kept.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # for Windows, where the variable has no effect
    return onnxruntime
