"""ILVRSweep and ContactSheet: every pair sampled in one queue and laid out as a table."""

import pytest
import torch

import nodes

from .host import node, picture, run_graph
from .test_graphs import KEEP, guided_graph, result
from .test_graphs import node as graph_node


def swept(factors, ends, **sheet):
    """A graph whose ContactSheet (11) shows every pair of factor and range, two images each."""
    graph = guided_graph() | {
        "5": graph_node("ILVRSweep", factors=factors, ends=ends),
        "8": graph_node(
            "ApplyILVR", model=["1", 0], reference=["4", 0], low_pass=["5", 0], range=["5", 1]
        ),
        "9": graph_node(
            "KSampler", model=["8", 0], seed=3, steps=2, cfg=1.0, sampler_name="euler",
            scheduler="karras", positive=["1", 1], negative=["1", 1], latent_image=["4", 1],
            denoise=1.0,
        ),
        "10": graph_node("VAEDecode", samples=["9", 0], vae=["1", 2]),
        "11": graph_node(
            "ContactSheet", images=["10", 0], labels=["5", 2], reference=["2", 0], cell=64, **sheet
        ),
    }  # fmt: skip
    return graph


def test_a_sweep_gives_every_pair_with_its_label():
    low_passes, ranges, labels = node("ILVRSweep", "4, 8;16", "0 800-250")
    assert [low_pass.factor for low_pass in low_passes] == [4, 8, 16, 4, 8, 16]
    assert [(r.start, r.end) for r in ranges] == [(1000, 0)] * 3 + [(800, 250)] * 3
    assert labels[0] == "N = 4 | 1000-0" and labels[5] == "N = 16 | 800-250"
    assert node("ILVRSweep", "8", "0, 250")[2] == ["1000-0 | N = 8", "1000-250 | N = 8"]


def test_one_queue_draws_the_table_of_both():
    graph = swept("4, 32", "0, 900", title="factors and ranges")
    sheet = result(graph, ("11", 0))[0]
    outputs, _ = run_graph(graph)
    assert len(outputs["11"]["images"]) == 1

    left = sheet.shape[1] - 3 * 68  # reference and two factors, in cells of 64 and gaps of 4
    top = sheet.shape[0] - 4 * 68  # two ranges of two images each

    def cell(row, column):
        y, x = top + 68 * row, left + 68 * column
        return sheet[y : y + 64, x : x + 64]

    decoded = torch.stack([image for _, image in sorted(_decoded(graph).items())])
    for pair in range(4):
        for item in range(2):
            shown = cell(2 * (pair // 2) + item, 1 + pair % 2)
            assert (shown - decoded[2 * pair + item]).abs().max() < 0.01
    assert all(torch.equal(cell(0, 0), cell(row, 0)) for row in range(1, 4))
    assert (sheet[:, :left] < 0.5).any() and (sheet[:top] < 0.5).any()  # labels and title


def _decoded(graph):
    """The images that went into the sheet, by their place in the list."""
    KEEP.clear()
    run_graph(graph | {"keep": graph_node("KeepResult", value=["10", 0])})
    return {2 * i + j: image for i, batch in enumerate(KEEP) for j, image in enumerate(batch)}


def sheet(*batches, labels=None):
    return node("ContactSheet", list(batches), labels, None, [32], [""])[0][0]


def test_a_reference_is_named_with_labels_or_without():
    image = picture(1, 32, 32, 3)
    (alone,) = node("ContactSheet", [image], None, [1 - image], [32], [""])[0]
    assert alone.shape[0] - sheet(image).shape[0] == 20 and (alone[:20, :40] < 0.5).any()
    assert (alone[-36:-4, 8:40] - (1 - image[0])).abs().max() < 0.01


def test_pictures_of_one_batch_take_a_label_each():
    images = picture(3, 32, 32, 3)
    labelled = sheet(images, labels=["a", "b", "c"])
    assert torch.equal(labelled, sheet(*images.split(1), labels=["a", "b", "c"]))
    assert (labelled[-36:-4, -36:-4] - images[2]).abs().max() < 0.01


def test_equal_labels_lose_no_picture():
    images = picture(2, 32, 32, 3)
    shown = sheet(*images.split(1), labels=["a | b", "a | b"])
    assert (shown[-72:-40, -36:-4] - images[0]).abs().max() < 0.01
    assert (shown[-36:-4, -36:-4] - images[1]).abs().max() < 0.01


def test_wide_pictures_keep_their_shape():
    image = picture(1, 16, 32, 3)
    shown = sheet(image)
    assert shown.shape[0] < 16 + 32 and (shown[-20:-4, -36:-4] - image).abs().max() < 0.01


def test_examples_are_those_of_the_pack_alone():
    with pytest.raises(ValueError, match=r"Unknown example '../mask': choose one of clip-art, "):
        node("ExampleReference", "../mask")


def test_an_example_has_the_models_size_and_saved_graphs_get_its_own():
    own = node("ExampleReference", "clip-art")[0]
    assert own.shape == (1, 256, 256, 3)
    small = node("ExampleReference", "clip-art", 64)[0]
    (scaled,) = nodes.NODE_CLASS_MAPPINGS["ImageScale"]().upscale(own, "area", 64, 64, "center")
    assert torch.allclose(small, scaled, atol=1e-6)
    large = node("ExampleReference", "render-lake", 256)[0]
    assert large.shape == (1, 256, 256, 3) and large.min() >= 0 and large.max() <= 1


def test_says_what_a_sweep_can_not_use():
    with pytest.raises(ValueError, match="factor 'big' is no number; give some such as 4, 8, 16"):
        node("ILVRSweep", "4, big", "0")
    with pytest.raises(ValueError, match="ends is empty"):
        node("ILVRSweep", "4", " ")
    with pytest.raises(ValueError, match="no range; give END or START-END"):
        node("ILVRSweep", "4", "soon")
    with pytest.raises(ValueError, match="2 pictures and 1 labels"):
        sheet(picture(1, 32, 32, 3), picture(1, 32, 32, 3), labels=["a"])
