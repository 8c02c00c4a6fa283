"""LSE-D and LSE-C (Wav2Lip): distance and confidence of SyncNet (Chung and Zisserman, "Out of time", 2016).

talkface does not include SyncNet's weights: the user gives the path of `syncnet_v2.model`. Sound and pictures are
prepared as in the authors' `syncnet_python`. Shapes: T video frames at 25 fps, F = T - 5 windows, offsets -15 to +15.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor, nn

from talkface.config import FPS, SIZE, SOUND_RATE
from talkface.errors import TalkfaceError
from talkface.face.align import warp

CROP = 224  # px, side of the face crop
CROP_BOX = (-2.0, 44.0, 260.0)  # x, y, side in px of the aligned face: where SyncNet's crop about S3FD's box lies
FRAMES = 5  # of the picture in one window
STEPS = 20  # of 10 ms of the sound in one window
MAX_OFFSET = 15  # frames
FEATURES = 1024
NFFT, HOP, WINDOW, FILTERS, COEFFS, LIFTER = 512, 160, 400, 26, 13, 22


class SyncNet(nn.Module):
    """Two networks that embed lips and sound in one space. Names and order of the layers are those of the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_block(nn.Conv2d(1, 64, 3, padding=1)),
            nn.MaxPool2d(1, 1),
            *_block(nn.Conv2d(64, 192, 3, padding=1)),
            nn.MaxPool2d(3, (1, 2)),
            *_block(nn.Conv2d(192, 384, 3, padding=1)),
            *_block(nn.Conv2d(384, 256, 3, padding=1)),
            *_block(nn.Conv2d(256, 256, 3, padding=1)),
            nn.MaxPool2d(3, 2),
            *_block(nn.Conv2d(256, 512, (5, 4))),
        )
        self.netcnnlip = nn.Sequential(
            *_block(nn.Conv3d(3, 96, (5, 7, 7), (1, 2, 2))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_block(nn.Conv3d(96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *_block(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
            *_block(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
            *_block(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_block(nn.Conv3d(256, 512, (1, 6, 6))),
        )
        self.netfcaud, self.netfclip = (
            nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, FEATURES))
            for _ in range(2)
        )

    def embed_sound(self, mfcc: Tensor) -> Tensor:
        """(B, 1, 13, 20) -> (B, 1024)."""
        return self.netfcaud(self.netcnnaud(mfcc).flatten(1))

    def embed_picture(self, crops: Tensor) -> Tensor:
        """(B, 3, 5, 224, 224), BGR in 0..255 -> (B, 1024)."""
        return self.netfclip(self.netcnnlip(crops).flatten(1))


def _block(conv: nn.Conv2d | nn.Conv3d) -> tuple[nn.Module, ...]:
    norm = nn.BatchNorm2d if isinstance(conv, nn.Conv2d) else nn.BatchNorm3d
    return conv, norm(conv.out_channels), nn.ReLU()


def load_syncnet(path: Path, device: torch.device | str = "cpu") -> SyncNet:
    """SyncNet with the user's weights, in eval mode.

    Raises:
        TalkfaceError: there is no such file, or it does not hold SyncNet's weights.
    """
    network = SyncNet()
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError as error:
        raise TalkfaceError(f"There is no file {path}.", "Give the path of syncnet_v2.model with --syncnet.") from error
    except Exception as error:  # torch.load raises a dozen kinds of errors for other files
        raise TalkfaceError(
            f"{path} does not hold SyncNet's weights ({str(error).splitlines()[0]}).",
            "Give the published syncnet_v2.model with --syncnet.",
        ) from error
    return network.eval().requires_grad_(False).to(device)


def syncnet_mfcc(sound: np.ndarray) -> np.ndarray:
    """The MFCC that SyncNet was trained on: those of python_speech_features with its defaults.

    Pre-emphasis 0.97, 25-ms rectangular windows every 10 ms, 26 mel filters, liftered by 22, the first coefficient
    replaced by the log energy.

    Args:
        sound: (samples,) mono at 16 kHz, in 16-bit units.

    Returns:
        float64 (steps, 13).
    """
    sound = np.append(sound[0], sound[1:] - 0.97 * sound[:-1].astype(np.float64))
    steps = 1 + max(0, -(-(len(sound) - WINDOW) // HOP))
    sound = np.pad(sound, (0, max(0, (steps - 1) * HOP + WINDOW - len(sound))))
    windows = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP][:steps]
    power = np.square(np.abs(np.fft.rfft(windows, NFFT))) / NFFT
    tiny = np.finfo(float).eps
    bands = np.maximum(power @ _mel_filters().T, tiny)
    coefficients = dct(np.log(bands), type=2, axis=1, norm="ortho")[:, :COEFFS]
    coefficients *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(COEFFS) / LIFTER)
    coefficients[:, 0] = np.log(np.maximum(power.sum(1), tiny))
    return coefficients


def _mel_filters() -> np.ndarray:
    """Triangles between whole FFT bins, (26, 257). librosa's filters are not rounded to bins."""
    import librosa  # here, because it takes a second to load and only LSE needs it

    hertz = librosa.mel_frequencies(n_mels=FILTERS + 2, fmin=0, fmax=SOUND_RATE / 2, htk=True)
    edge = np.floor((NFFT + 1) * hertz / SOUND_RATE)
    bins, filters = np.arange(NFFT // 2 + 1), np.zeros((FILTERS, NFFT // 2 + 1))
    for row, low, middle, high in zip(filters, edge, edge[1:], edge[2:], strict=False):
        rising, falling = (bins - low) / max(middle - low, 1), (high - bins) / max(high - middle, 1)
        row[:] = np.where(bins < middle, rising, falling) * ((bins >= low) & (bins < high))
    return filters


def face_crops(frames: Iterable[np.ndarray], transforms: np.ndarray) -> Iterator[np.ndarray]:
    """SyncNet's crops of a video: uint8 RGB (224, 224, 3), one for each transform.

    Args:
        frames: uint8 RGB (H, W, 3), at least as many as there are transforms.
        transforms: float64 (T, 2, 3), pixels of the frame to pixels of the aligned face.
    """
    x, y, side = CROP_BOX
    to_crop = np.diag((SIZE / side, SIZE / side, 1.0)) @ np.array(((1, 0, -x), (0, 1, -y), (0, 0, 1.0)))
    for frame, transform in zip(islice(frames, len(transforms)), transforms, strict=True):
        yield warp(frame, (to_crop @ np.vstack((transform, (0, 0, 1))))[:2], CROP)


@torch.inference_mode()
def embed(
    network: SyncNet, crops: Iterable[np.ndarray], sound: np.ndarray, device: torch.device | str = "cpu", batch: int = 8
) -> tuple[Tensor, Tensor]:
    """SyncNet's embeddings of the pictures and of the sound at each frame.

    Args:
        network: from `load_syncnet`.
        crops: T faces, uint8 RGB (224, 224, 3), at 25 fps.
        sound: (samples,) mono at 16 kHz, in 16-bit units.
        device: where the network is.
        batch: number of windows embedded together; each holds 3 MB of pictures.

    Returns:
        Two float32 (F, 1024): embeddings of the pictures, and of the sound. F is 0 for a video that is too short.
    """
    mfcc = torch.from_numpy(syncnet_mfcc(sound).T.copy()).float()
    windows, pictures, sounds = _windows(crops), [], []
    first, count = 0, len(sound) // (SOUND_RATE // FPS) - FRAMES
    while first < count and (block := list(islice(windows, min(batch, count - first)))):
        frames = torch.from_numpy(np.stack(block)).to(device).permute(0, 4, 1, 2, 3).float()
        steps = [mfcc[None, :, 4 * i : 4 * i + STEPS] for i in range(first, first + len(block))]
        pictures.append(network.embed_picture(frames).cpu())
        sounds.append(network.embed_sound(torch.stack(steps).to(device)).cpu())
        first += len(block)
    empty = [torch.zeros(0, FEATURES)]
    return torch.cat(pictures or empty), torch.cat(sounds or empty)


def _windows(crops: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Five frames at a time, (5, 224, 224, 3) BGR. As in the authors' code, no window ends on the last frame."""
    latest: deque[np.ndarray] = deque(maxlen=FRAMES)
    for crop in crops:
        if len(latest) == FRAMES:
            yield np.stack(latest)
        latest.append(crop[:, :, ::-1])


def lse(pictures: Tensor, sounds: Tensor) -> tuple[float, float, int]:
    """LSE-D, LSE-C and the offset, from the embeddings of one video.

    LSE-D is taken at the best offset, so a constant delay does not raise it: read the offset too.

    Args:
        pictures: float32 (F, 1024).
        sounds: float32 (F, 1024).

    Returns:
        The smallest mean distance over the offsets; the median over the offsets minus that distance; and the offset of
        the smallest distance in frames. The offset has SyncNet's sign: positive where the mouth is late, the opposite
        of the project's `av_offset`.
    """
    padded = nn.functional.pad(sounds, (0, 0, MAX_OFFSET, MAX_OFFSET))
    distances = torch.stack(
        [
            nn.functional.pairwise_distance(pictures, padded[k : k + len(pictures)]).mean()
            for k in range(2 * MAX_OFFSET + 1)
        ]
    )
    best = int(distances.argmin())
    return float(distances[best]), float(distances.median() - distances[best]), MAX_OFFSET - best
