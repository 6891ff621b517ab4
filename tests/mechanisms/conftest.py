import pytest

from tiny import make_tiny_base


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A pretrained model that is made in a blink."""
    return make_tiny_base(tmp_path_factory.mktemp("base"))
