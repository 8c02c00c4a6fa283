import pytest
import torch


@pytest.fixture(scope="module")
def one_thread():
    """For networks so small that several threads are slower, and much slower where others want the cores as well."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
