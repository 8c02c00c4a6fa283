"""The log of a training run."""

import pytest

from talkface.train import train

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_run_writes_its_losses_for_tensorboard(
    tmp_path, synthetic_clips, write_dataset, mini_train_config, train_options
):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed: its log is NOT tested")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    data = write_dataset(tmp_path / "data", synthetic_clips.many(2, 8))
    train(train_options(data, tmp_path / "run"), mini_train_config)
    written = EventAccumulator(str(tmp_path / "run/tensorboard")).Reload()
    losses = [tag for tag in written.Tags()["scalars"] if tag.startswith("loss/")]
    assert "loss/lip" in losses
    assert [event.step for event in written.Scalars("frames_per_second")] == list(range(1, 10))
