"""What every test gets: one thread, no network, an empty cache, a device and a dtype."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

_CACHE = tempfile.TemporaryDirectory(prefix="causal_diffusers-tests-")

# Read by torch and the Hugging Face libraries when they are imported, so set before any test is.
os.environ["OMP_NUM_THREADS"] = "1"  # two threads on two busy cores are ten times slower
os.environ["HF_HOME"] = _CACHE.name
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["DIFFUSERS_DISABLE_REMOTE_CODE"] = "1"


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="the torch device of the tests that use one")
    parser.addoption("--dtype", default="float64", help="the torch dtype of the tests of maths")


def pytest_unconfigure():
    _CACHE.cleanup()


@pytest.fixture(autouse=True)
def _same_initial_weights():
    """Modules draw their initial weights from torch's own generator: start it anew."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def device(request):
    """The device asked for with --device."""
    import torch

    return torch.device(request.config.getoption("device"))


@pytest.fixture
def dtype(request):
    """The dtype asked for with --dtype."""
    import torch

    return getattr(torch, request.config.getoption("dtype"))


@pytest.fixture
def generator():
    """A generator on the CPU at the start of stream 0."""
    import torch

    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def data_folder():
    """The folder of data sets that are not part of the project."""
    folder = os.environ.get("CAUSAL_DIFFUSERS_DATA")
    if not folder:
        pytest.skip("set CAUSAL_DIFFUSERS_DATA to the folder of data sets")
    return Path(folder)
