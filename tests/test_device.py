"""The device is selected by what the machine and the installed PyTorch have."""

import pytest
import torch
import torch.nn.functional as F

from talkface import device
from talkface.device import cores, mps_works, one_thread, pick_device
from talkface.errors import TalkfaceError


@pytest.fixture
def machine(monkeypatch):
    """Pretends that the machine has these devices and this version of PyTorch."""

    def pretend(cuda=0, mps=False, mps_operations=True, version="2.13.1"):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(device, "mps_works", lambda: mps and mps_operations)
        monkeypatch.setattr(torch, "__version__", version)

    return pretend


@pytest.mark.parametrize(
    "has, expected",
    [
        ({}, "cpu"),
        ({"cuda": 2}, "cuda"),
        ({"cuda": 1, "mps": True}, "cuda"),
        ({"mps": True}, "mps"),
        ({"mps": True, "version": "3.0.0"}, "mps"),
        ({"mps": True, "version": "2.13.0a0+git1234"}, "mps"),
        ({"mps": True, "version": "2.12.1"}, "cpu"),
        ({"mps": True, "version": "2.9.0"}, "cpu"),
        ({"mps": True, "mps_operations": False}, "cpu"),
    ],
)
def test_auto_selects_cuda_then_an_mps_that_works_then_the_cpu(machine, has, expected):
    machine(**has)
    assert pick_device("auto") == torch.device(expected)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:1"])
def test_a_cuda_device_that_exists_is_selected(machine, name):
    machine(cuda=2)
    assert pick_device(name) == torch.device(name)


@pytest.mark.parametrize(
    "name, has, problem, fix",
    [
        ("cuda:9", {"cuda": 2}, "--device cuda:9: this machine has 2 devices", "cuda:1"),
        ("cuda:1", {"cuda": 1}, "--device cuda:1: this machine has 1 device of this kind", "cuda:0"),
        ("mps:1", {"mps": True}, "--device mps:1: this machine has 1 device of this kind", "mps:0"),
        ("cuda", {}, "finds no CUDA device", "--device cpu"),
        ("mps", {}, "finds no MPS device", "--device cpu"),
        ("mps", {"mps": True, "mps_operations": False}, "lacks an operation on MPS", "PyTorch 2.13"),
        ("tpu", {}, "--device tpu is not a valid device", "auto"),
        ("cpu:foo", {}, "--device cpu:foo is not a valid device", "auto"),
        ("xpu", {}, "--device xpu is not a valid device", "auto"),
    ],
)
def test_a_device_that_cannot_be_used_is_a_clear_error(machine, name, has, problem, fix):
    machine(**has)
    with pytest.raises(TalkfaceError, match=problem) as error:
        pick_device(name)
    assert fix in error.value.fix


@pytest.mark.parametrize("module, name", [(F, "grid_sample"), (torch.linalg, "solve_ex")])
def test_an_mps_without_an_operation_of_warping_does_not_work(monkeypatch, module, name):
    def fail(*arguments, **options):
        raise NotImplementedError(f"{name} is not implemented for the MPS device")

    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device: tensor)  # there is no MPS on most machines
    assert mps_works()
    monkeypatch.setattr(module, name, fail)
    assert not mps_works()


def test_an_mps_with_wrong_results_does_not_work(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device: tensor + 1)
    assert not mps_works()


def test_there_is_at_least_one_core():
    assert cores() >= 1


@pytest.fixture
def three_threads():
    """Three threads for PyTorch, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_pytorch_has_one_thread_inside_the_block_and_as_many_as_before_after_it(three_threads):
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


def test_an_error_inside_the_block_restores_the_number_of_threads(three_threads):
    with pytest.raises(ZeroDivisionError), one_thread():
        _ = 1 / 0
    assert torch.get_num_threads() == 3


def test_the_number_of_threads_stays_where_one_is_not_wanted(three_threads):
    with one_thread(wanted=False):
        assert torch.get_num_threads() == 3
