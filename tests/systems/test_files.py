"""Files of real images are found where they lie, and refused where they are not whole."""

import gzip

import pytest
import torch

from causal_diffusers.systems.files import VARIABLE, find_file, read_idx
from mnist_files import write_idx


@pytest.fixture
def no_folder(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


def test_an_idx_file_gives_back_the_array(tmp_path):
    array = torch.randint(256, (3, 5, 2), generator=torch.Generator().manual_seed(0))
    write_idx(tmp_path / "a.gz", array)
    (tmp_path / "a").write_bytes(gzip.decompress((tmp_path / "a.gz").read_bytes()))
    assert torch.equal(read_idx(tmp_path / "a.gz").long(), array)
    assert torch.equal(read_idx(tmp_path / "a").long(), array)


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\x08", b"\0\0\x08\x01\0\0\0\x03ab", b"\0\0\x0d\x01\0\0\0\x01a"]
)
def test_what_is_no_idx_file_is_refused(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ValueError, match=f"should be an idx file of bytes: got {len(content)} "):
        read_idx(tmp_path / "a")


def test_a_file_is_found_at_any_depth_by_argument_before_variable(tmp_path, monkeypatch):
    for folder in ("mine/deep", "theirs"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "leaf64.npz").touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "theirs"))
    assert find_file("leaf*.npz", None, "") == tmp_path / "theirs/leaf64.npz"
    mine = tmp_path / "mine/deep/leaf64.npz"
    assert find_file("leaf*.npz", tmp_path / "mine", "") == mine
    assert find_file("leaf*.npz", mine, "") == mine


def test_a_missing_file_comes_with_the_way_to_get_it(tmp_path, no_folder):
    with pytest.raises(FileNotFoundError, match=r"There is no `x\*` in .*\. Download it\."):
        find_file("x*", tmp_path, "Download it.")
    with pytest.raises(FileNotFoundError, match=rf"got none, and `{VARIABLE}` is not set\. Down"):
        find_file("x*", None, "Download it.")
