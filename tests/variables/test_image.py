"""Every way to hold an image is read as it was meant, or refused by name and row."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image as PILImage

from causal_diffusers.errors import ShapeError
from causal_diffusers.variables import Image

GREY, COLOUR = Image(1, 4, 6), Image(3, 4, 6)


def random_images(number, channels, generator):
    """8-bit images (N, 4, 6, C), as arrays."""
    shape = (number, 4, 6, channels)
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8).numpy()


def expected(images):
    """The truth, pixel by pixel: (N, C, H, W) in [-1, 1]."""
    number, height, width, channels = images.shape
    truth = torch.empty(number, channels, height, width)
    for n, y, x, c in np.ndindex(images.shape):
        truth[n, c, y, x] = 2 * (int(images[n, y, x, c]) / 255) - 1
    return truth


@pytest.fixture(params=[GREY, COLOUR], ids=["grey", "colour"])
def variable(request):
    return request.param


def as_pil(image):
    return PILImage.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)


READINGS = {
    "channels last": lambda a: a,
    "channels first": lambda a: a.transpose(0, 3, 1, 2),
    "tensor": torch.as_tensor,
    "floats": lambda a: a / 255,
    "single floats": lambda a: torch.as_tensor(a.transpose(0, 3, 1, 2)) / 255,
    "list": list,
    "objects": lambda a: pd.Series(list(a)).to_numpy(),
    "list of PIL": lambda a: [as_pil(image) for image in a],
    "list of lists": lambda a: [(image / 255).tolist() for image in a],
    "mixed": lambda a: [as_pil(a[0]), a[1], a[2] / 255, torch.as_tensor(a[3])],
    "read only": lambda a: np.broadcast_to(a, a.shape),
    "flipped twice": lambda a: np.ascontiguousarray(a[:, ::-1])[:, ::-1],
}


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
def test_images_are_read_from_anything_that_holds_them(variable, reading, generator):
    images = random_images(4, variable.channels, generator)
    encoded = variable.encode(reading(images), name="I")
    assert encoded.dtype == torch.float32
    torch.testing.assert_close(encoded, expected(images), atol=1e-6, rtol=0)


def test_files_and_images_and_arrays_may_share_a_column(variable, generator, tmp_path):
    images = random_images(3, variable.channels, generator)
    as_pil(images[0]).save(tmp_path / "0.png")
    column = [tmp_path / "0.png", as_pil(images[1]), images[2]]
    torch.testing.assert_close(variable.encode(column, name="I"), expected(images))
    again = variable.encode([str(tmp_path / "0.png")], name="I")
    torch.testing.assert_close(again, expected(images[:1]))


def test_grey_images_need_no_channel_axis(generator):
    images = random_images(3, 1, generator)
    for column in (images[..., 0], list(images[..., 0])):
        torch.testing.assert_close(GREY.encode(column, name="I"), expected(images))


def test_where_both_layouts_fit_the_channels_come_first():
    image = torch.arange(27.0).reshape(1, 3, 3, 3) / 27
    assert torch.equal(Image(3, 3, 3).encode(image, name="I"), 2 * image - 1)
    wide = torch.rand(2, 5, 3, 3)  # (H, W, C) and nothing else
    assert torch.equal(Image(3, 5, 3).encode(wide, name="I"), 2 * wide.permute(0, 3, 1, 2) - 1)


def test_pil_images_are_converted_to_the_channels_of_the_variable():
    red = PILImage.new("RGB", (6, 4), (255, 0, 0))
    assert COLOUR.encode([red], name="I").amax((0, 2, 3)).tolist() == [1, -1, -1]
    assert GREY.encode([red], name="I").shape == (1, 1, 4, 6)
    clear = PILImage.new("RGBA", (6, 4), (255, 0, 0, 10))
    assert torch.equal(COLOUR.encode([clear], name="I"), COLOUR.encode([red], name="I"))
    assert COLOUR.encode([PILImage.new("P", (6, 4))], name="I").shape == (1, 3, 4, 6)


def test_sixteen_bits_are_not_clipped_to_eight(tmp_path):
    depth = np.arange(24, dtype=np.uint16).reshape(4, 6) * 2849  # up to 65527
    PILImage.fromarray(depth).save(tmp_path / "xray.png")
    truth = torch.as_tensor(2 * (depth / 65535) - 1, dtype=torch.float32)[None, None]
    torch.testing.assert_close(GREY.encode([tmp_path / "xray.png"], name="I"), truth)
    torch.testing.assert_close(
        COLOUR.encode([tmp_path / "xray.png"], name="I"), truth.expand(1, 3, 4, 6)
    )


def test_a_photograph_is_turned_upright(tmp_path):
    lying = PILImage.fromarray(np.arange(24, dtype=np.uint8).reshape(6, 4))
    exif = PILImage.Exif()
    exif[0x0112] = 6  # the camera was held sideways
    lying.save(tmp_path / "photo.png", exif=exif)
    truth = np.rot90(np.arange(24).reshape(6, 4), -1).copy()
    encoded = GREY.encode([tmp_path / "photo.png"], name="I")
    assert torch.equal(encoded[0, 0], 2 * (torch.as_tensor(truth) / 255) - 1)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pil_images_without_a_range_are_refused(mode):
    with pytest.raises(ValueError, match=f'"I" cannot be read in row 1: .* "{mode}"'):
        GREY.encode([PILImage.new("L", (6, 4)), PILImage.new(mode, (6, 4))], name="I")


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint16, np.complex64])
def test_integers_of_an_unknown_range_are_refused(kind):
    images = np.zeros((2, 4, 6, 1), dtype=kind)  # 0 and 1 would pass for floats
    for column in (images, list(images)):
        with pytest.raises(ValueError, match=f'"I" takes floats .* got {kind.__name__}'):
            GREY.encode(column, name="I")


def test_booleans_are_black_and_white():
    mask = np.eye(4, 6, dtype=bool)[None]
    assert GREY.encode(mask, name="I").unique().tolist() == [-1, 1]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.5, 255.0])
def test_a_pixel_out_of_range_is_refused_by_row(value):
    images = torch.zeros(3, 1, 4, 6)
    images[2, 0, 1, 1] = value
    for column in (images, list(images)):
        with pytest.raises(ValueError, match=rf'"I" takes pixels in .* got {value:g} in row 2'):
            GREY.encode(column, name="I")


@pytest.mark.parametrize(
    "shape", [(2, 4, 6, 4), (2, 3, 6, 4), (2, 1, 4, 6), (4, 6, 3), (2, 4, 6), (4, 6), (2, 8, 8, 3)]
)
def test_another_shape_is_refused_with_the_way_out(shape):
    with pytest.raises(ShapeError, match="Resize the images to 4 x 6 pixels") as caught:
        COLOUR.encode(torch.zeros(shape), name="I")
    error = caught.value
    assert (error.variable, error.expected, error.received) == ("I", ("N", 3, 4, 6), shape)


def test_another_shape_is_refused_by_row():
    column = [PILImage.new("L", (6, 4)), PILImage.new("L", (4, 6))]
    with pytest.raises(ShapeError, match=r"got \(6, 4\) in row 1") as caught:
        GREY.encode(column, name="I")
    assert caught.value.expected == (1, 4, 6)


@pytest.mark.parametrize(
    ("image", "complaint"), [(None, "not NoneType"), ({"bytes": b""}, "not dict"), (3, "not int")]
)
def test_what_is_no_image_is_refused_by_row(image, complaint):
    with pytest.raises(ValueError, match=f'"I" cannot be read in row 1: .* {complaint}'):
        GREY.encode([np.zeros((4, 6)), image], name="I")


def test_a_file_that_is_missing_or_damaged_is_refused_by_row(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    PILImage.new("L", (64, 64)).save(tmp_path / "half.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "half.png").read_bytes()[:60])
    for name in ("missing.png", "text.png", "half.png"):
        with pytest.raises(ValueError, match='"I" cannot be read in row 0'):
            GREY.encode([tmp_path / name], name="I")


def test_an_empty_column_has_no_images(variable):
    assert variable.encode([], name="I").shape == (0, *variable.shape)
    assert variable.encode(np.zeros((0, *variable.shape)), name="I").shape == (0, *variable.shape)


def test_images_survive_the_way_out_and_back(variable, generator):
    images = 2 * torch.rand(3, *variable.shape, generator=generator) - 1
    again = variable.encode(variable.decode(images), name="I")
    torch.testing.assert_close(again, images, atol=1e-6, rtol=0)
    assert variable.decode(3 * images).aminmax() == (0, 1)


@pytest.mark.parametrize(
    "shape", [(2, 8, 8), (4, 8, 8), (1, 0, 8), (1, 8, -1), (1, 8.0, 8), (True, 8, 8), (1, "8", 8)]
)
def test_an_image_has_a_sensible_shape(shape):
    with pytest.raises(ValueError, match="1 or 3 channels and positive sizes"):
        Image(*shape)
