import numpy as np
import pytest
import torch
from PIL import Image

from ilvr import contact_sheet, load_image, load_mask, to_images
from ilvr.image import open_image, read_parameters, save_png, to_rgb


def gradient(mode="RGB", size=(40, 30)):
    x = np.linspace(0, 255, size[0])[None].repeat(size[1], 0)
    rgb = np.stack([x, x[:, ::-1], np.full_like(x, 128)], -1).round().astype(np.uint8)
    return Image.fromarray(rgb).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    gradient(mode).save(path)
    image = open_image(path)
    assert (image.mode, image.size) == ("RGB", (40, 30))
    if mode in ("RGB", "RGBA", "CMYK"):
        assert np.abs(np.asarray(image, int) - np.asarray(gradient(), int)).max() <= 2


def test_alpha_lies_over_white(tmp_path):
    Image.new("RGBA", (4, 4), (200, 0, 0, 0)).save(tmp_path / "a.png")
    assert open_image(tmp_path / "a.png").getpixel((1, 1)) == (255, 255, 255)


def test_sixteen_bits_keep_their_range(tmp_path):
    values = np.array([[0, 257 * 100, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert np.asarray(open_image(tmp_path / "a.png"))[0, :, 0].tolist() == [0, 100, 255]


def test_one_grey_of_sixteen_bits_may_be_transparent(tmp_path):
    values = np.array([[0, 1, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png", transparency=0)
    assert np.asarray(open_image(tmp_path / "a.png"))[0, :, 0].tolist() == [255, 0, 255]


@pytest.mark.parametrize(
    "value, message",
    [(np.float32(0.5), "floating-point"), (np.int32(65536), "16 b"), (np.int32(-1), "16 b")],
)
def test_pixels_with_no_black_and_white_are_refused(tmp_path, value, message):
    picture = Image.fromarray(np.full((4, 4), value))
    picture.save(tmp_path / "a.tif")
    for function, given in ((open_image, tmp_path / "a.tif"), (to_rgb, picture)):
        with pytest.raises(ValueError, match=f"{message}.*8 or 16 bits a channel.$"):
            function(given)


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    gradient().save(tmp_path / "a.jpg", exif=exif)
    assert open_image(tmp_path / "a.jpg").size == (30, 40)


def test_one_pixel_is_a_flat_reference(tmp_path):
    Image.new("RGB", (1, 1), (255, 0, 127)).save(tmp_path / "a.png")
    image = load_image(tmp_path / "a.png", 16)
    assert image.shape == (1, 3, 16, 16)
    assert (image - torch.tensor([1, -1, -0.004]).reshape(1, 3, 1, 1)).abs().max() < 0.005


def test_a_long_strip_is_cropped_and_a_huge_picture_refused(tmp_path):
    Image.new("RGB", (20000, 3)).save(tmp_path / "strip.png")
    assert load_image(tmp_path / "strip.png", 16).shape == (1, 3, 16, 16)
    Image.new("1", (20000, 20000)).save(tmp_path / "huge.png")
    with pytest.raises(ValueError, match=r"huge\.png.*megapixels"):
        open_image(tmp_path / "huge.png")


def test_damaged_files_get_one_sentence(tmp_path):
    gradient().save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    for name in ("half", "text", "empty"):
        with pytest.raises(ValueError, match=f"{name}.png is damaged or no picture"):
            open_image(tmp_path / f"{name}.png")
    with pytest.raises(ValueError, match="no such picture"):
        open_image(tmp_path / "none.png")
    with pytest.raises(ValueError, match="no such picture"):
        open_image(tmp_path)


def test_pixels_survive_the_way_there_and_back(tmp_path):
    image = gradient(size=(16, 16))
    image.save(tmp_path / "a.png")
    (back,) = to_images(load_image(tmp_path / "a.png", 16))
    assert np.array_equal(np.asarray(back), np.asarray(image))
    assert np.asarray(to_images(torch.full((1, 3, 2, 2), 7.0))[0]).min() == 255


def test_mask_is_white_for_follow_and_has_the_references_size(tmp_path):
    gradient().save(tmp_path / "reference.png")
    half = np.zeros((30, 40), np.uint8)
    half[:, 20:] = 255
    Image.fromarray(half).save(tmp_path / "mask.png")
    mask = load_mask(tmp_path / "mask.png", 30, tmp_path / "reference.png")
    assert mask.shape == (1, 1, 30, 30)
    assert (mask[..., :14].max(), mask[..., 16:].min()) == (0, 1)
    gradient("L", (41, 30)).save(tmp_path / "other.png")
    with pytest.raises(ValueError, match=r"41 x 30 pixels and the reference .* 40 x 30"):
        load_mask(tmp_path / "other.png", 30, tmp_path / "reference.png")


def test_what_is_transparent_in_a_mask_is_not_followed(tmp_path):
    gradient().save(tmp_path / "reference.png")
    white = np.full((30, 40, 4), 255, np.uint8)
    white[:, :20, 3] = 0
    Image.fromarray(white).save(tmp_path / "mask.png")
    mask = load_mask(tmp_path / "mask.png", 30, tmp_path / "reference.png")
    assert (mask[..., :14].max(), mask[..., 16:].min()) == (0, 1)


def test_saved_pictures_carry_their_parameters(tmp_path):
    save_png(gradient(), tmp_path / "a.png", {"factor": 8, "name": "雪"})
    assert read_parameters(tmp_path / "a.png") == {"factor": 8, "name": "雪"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    gradient().save(tmp_path / "bare.png")
    assert read_parameters(tmp_path / "bare.png") is None


def test_sheets_keep_the_shape_of_wide_and_tall_pictures():
    wide, tall = Image.new("RGB", (32, 16), "red"), Image.new("RGB", (16, 32), "blue")
    colours = {c: n for n, c in contact_sheet([[wide, tall]], cell=64).getcolors(10**6)}
    assert colours[(255, 0, 0)] == 64 * 32 and colours[(0, 0, 255)] == 16 * 32


def test_contact_sheet_shows_pictures_and_labels():
    red, blue = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    sheet = contact_sheet([[red, blue], [blue, None]], ["one", "two"], ["first", "second"], "title")
    colours = {colour: count for count, colour in sheet.getcolors(10**6)}
    assert colours[(255, 0, 0)] == 128 * 128
    assert colours[(0, 0, 255)] == 2 * 128 * 128
    bare = contact_sheet([[red, blue], [blue, None]])
    assert sheet.width > bare.width and sheet.height > bare.height
    assert (0, 0, 0) in colours
    assert (0, 0, 0) not in {colour for _, colour in bare.getcolors(10**6)}


@pytest.mark.parametrize("size, cell", [(64, 128), (200, 200), (512, 256)])
def test_a_sheet_shows_pictures_as_wide_as_they_are_within_bounds(size, cell):
    sheet = contact_sheet([[Image.new("RGB", (size, size))] * 2])
    assert sheet.width == contact_sheet([[Image.new("RGB", (size, size))]]).width + cell + 4
