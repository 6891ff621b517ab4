"""A folder in the layout of MNIST, with random strokes in the place of handwriting."""

import gzip

import torch

COUNTS = {"train": 300, "t10k": 100}


def write_idx(path, array):
    header = bytes([0, 0, 8, array.dim(), *b"".join(n.to_bytes(4, "big") for n in array.shape)])
    path.write_bytes(gzip.compress(header + bytes(array.flatten().tolist())))


def write_mnist(folder, seed=0):
    """Write the four files; in the images of digit d, a bar lies in the rows from 2d on."""
    generator = torch.Generator().manual_seed(seed)
    for part, count in COUNTS.items():
        digits = torch.arange(count) % 10
        images = torch.randint(60, (count, 28, 28), generator=generator)
        rows = torch.arange(28)
        bar = (rows >= 2 * digits[:, None]) & (rows < 2 * digits[:, None] + 8)
        images += 30 * bar[:, :, None] * torch.randint(2, (count, 28, 28), generator=generator)
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images.to(torch.uint8))
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", digits.to(torch.uint8))
    return folder
