import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file

from ilvr import LowPassFilter, load, sample
from ilvr.autoencoder import Autoencoder
from ilvr.checkpoint import located
from ilvr.schedule import NoiseSchedule
from training import autoencoder, detail
from training.data import tensor
from training.grain import amplified, gains, grain
from training.latent import Balance, normalise
from training.loss import Posterior, bound, varied
from training.render import HELD_OUT, render
from training.scenery import scene

ROOT = Path(__file__).parents[2]


def test_renders_are_repeatable_and_differ():
    pictures = [render(HELD_OUT + i) for i in range(6)]
    assert np.array_equal(pictures[0], render(HELD_OUT))
    for i, picture in enumerate(pictures):
        assert (picture.shape, picture.dtype) == ((64, 64, 3), np.uint8)
        assert picture.std() > 10
        others = [np.abs(picture.astype(int) - other).mean() for other in pictures[:i]]
        assert all(difference > 10 for difference in others)


def test_a_model_trained_on_a_folder_loads_and_training_goes_on(tmp_path):
    for i in range(5):
        Image.fromarray(render(i)).save(tmp_path / f"{i}.png")
    (tmp_path / "broken.jpg").write_text("no picture")
    command = [sys.executable, "-m", "training.train", "--images", tmp_path, "--size", "16"]
    command += ["--name", tmp_path / "run", "--batch", "4", "--threads", "1"]

    def train(images):
        done = subprocess.run(
            [*map(str, command), "--images-total", images],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout + done.stderr

    assert "broken.jpg" in train("8")
    first = load(tmp_path / "run" / "ema.safetensors")
    assert "Going on after 8 images" in train("16")
    second = load(tmp_path / "run" / "ema.safetensors")
    assert first.configuration.image_size == second.configuration.image_size == 16
    assert second.configuration.learn_sigma
    weights = [model.network.out[2].weight for model in (first, second)]
    assert not torch.equal(*weights)
    assert sample(second, [0], steps=2).shape == (1, 3, 16, 16)


def test_the_bound_is_smallest_where_the_variance_is_right():
    """With the true mean known, the posterior's own variance (v = -1) costs nothing."""
    posterior = Posterior(NoiseSchedule.linear(), "cpu")
    t = torch.tensor([2, 10, 50])
    clean, eps = 0.5 * torch.randn(2, 3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    signal, noise = (table[t][:, None, None, None] for table in (posterior.signal, posterior.noise))
    noisy = signal * clean + noise * eps
    costs = [
        bound(posterior, clean, noisy, eps, torch.full_like(eps, v), t) for v in (-1.0, -0.5, 1.0)
    ]
    assert costs[0].abs().max() < 1e-5
    assert (costs[0] < costs[1]).all() and (costs[1] < costs[2]).all()


def test_noise_varies_where_it_is_loud_alone():
    eps = torch.randn(3, 3, 8, 8)
    out = varied(eps, torch.tensor([100, 500, 950]), 0.1)
    assert torch.equal(out[0], eps[0])
    amplitude = (out[1] / eps[1]).mean()
    assert torch.allclose(out[1], amplitude * eps[1]) and amplitude != 1
    assert (out[2] - eps[2]).abs().min() > 0


def test_scenes_are_repeatable_and_differ():
    pictures = [scene(HELD_OUT + i, 128) for i in range(4)]
    assert np.array_equal(pictures[0], scene(HELD_OUT, 128))
    for i, picture in enumerate(pictures):
        assert (picture.shape, picture.dtype) == ((128, 128, 3), np.uint8)
        others = [np.abs(picture.astype(int) - other).mean() for other in pictures[:i]]
        assert all(difference > 10 for difference in others)


def test_normalised_latents_have_mean_0_and_variance_1_and_decode_as_before():
    torch.manual_seed(0)
    autoencoder = Autoencoder().requires_grad_(False)
    autoencoder.taesd_encoder[-1].weight *= 10
    autoencoder.taesd_encoder[-1].bias.copy_(torch.tensor([0.3, -0.2, 0.1, 0.0]))
    autoencoder.taesd_decoder[0] = torch.nn.Identity()  # the clamp, which does not scale
    pictures = torch.rand(4, 3, 64, 64) * 2 - 1
    latents = autoencoder.encode(pictures)
    first = autoencoder.taesd_decoder[:2]
    before = first(latents)[..., 1:-1, 1:-1]

    normalise(autoencoder, latents)

    normalised = autoencoder.encode(pictures)
    torch.testing.assert_close(normalised.mean((0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(normalised.std((0, 2, 3)), torch.ones(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(first(normalised)[..., 1:-1, 1:-1], before, atol=1e-4, rtol=1e-4)


def test_a_level_of_twice_the_error_counts_no_more():
    balance, t = Balance("cpu"), torch.tensor([0, 999])
    for _ in range(500):
        weighted = balance.weighted(t, torch.tensor([0.2, 0.4]))
    torch.testing.assert_close(weighted, torch.ones(2), atol=1e-3, rtol=0)


def test_the_autoencoders_training_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    pictures = np.random.default_rng(0).integers(0, 255, (64, 48, 48, 3), dtype=np.uint8)
    np.save(tmp_path / "00000000.npy", pictures)
    for minutes in ("0.001", "0.1"):
        options = ["--name", str(tmp_path / "run"), "--scenes", str(tmp_path), "--minutes", minutes]
        monkeypatch.setattr("sys.argv", ["autoencoder", *options, "--crop", "32", "--batch", "2"])
        autoencoder.main()
    assert "Going on after" in capsys.readouterr().out
    state = load_file(tmp_path / "run" / "autoencoder.safetensors")
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_the_decoder_learns_from_what_the_model_paints(tmp_path, monkeypatch):
    pictures = np.zeros((64, 256, 256, 3), np.uint8)
    pictures[:2] = scene(0), scene(1)
    np.save(tmp_path / "00000000.npy", pictures)
    monkeypatch.setattr(autoencoder, "PAINTED", 2)
    monkeypatch.setattr(autoencoder, "PAINTED_BATCH", 1)
    options = ["--name", str(tmp_path / "run"), "--scenes", str(tmp_path), "--minutes", "0.05"]
    bundled = ["--init", str(located("landscapes-256")), "--painter", "landscapes-256"]
    monkeypatch.setattr("sys.argv", ["autoencoder", *options, *bundled, "--decoder-only"])
    autoencoder.main()

    kinds = torch.load(tmp_path / "run" / "painted.pt")
    model = load("landscapes-256")
    z = model.encode(tensor(pictures[:2]))
    low = LowPassFilter(autoencoder.KINDS[0] / 8)
    (remade, _), (alone, _) = kinds
    torch.testing.assert_close(low(remade), low(z), atol=1e-2, rtol=0)
    assert (remade - z).std() > 0.1
    assert (low(alone) - low(z)).abs().mean() > 0.1
    rng = np.random.default_rng(0)
    for latents, painted in kinds:
        z, kept, strips = autoencoder.strips([pictures], latents, painted, 4, rng)
        decoded = model.decode(z)[..., autoencoder.RIM : -autoencoder.RIM, :]
        assert strips.shape == kept.shape == decoded.shape == (4, 3, autoencoder.STRIP - 32, 256)
        assert F.avg_pool2d(decoded - kept, 16).abs().mean() < 0.01
    trained = load_file(tmp_path / "run" / "autoencoder.safetensors")
    before = load_file(located("landscapes-256"))
    same = [torch.equal(before[name], value) for name, value in trained.items()]
    assert [name for name, kept in zip(trained, same, strict=True) if not kept]
    encoder = [kept for name, kept in zip(trained, same, strict=True) if "encoder" in name]
    assert all(encoder)


def test_strips_of_latents_pictures_and_scenes_lie_at_one_height():
    rows = np.arange(256, dtype=np.uint8)[:, None, None]
    scenes = np.broadcast_to(rows, (64, 256, 256, 3))
    latents = torch.arange(32.0)[:, None].expand(1, 4, 32, 32)
    rng = np.random.default_rng(0)
    z, kept, x = autoencoder.strips([scenes], latents, tensor(scenes[:1]), 8, rng)
    assert torch.equal(kept, x)
    top = 8 * z[:, 0, 0, 0]
    assert torch.equal(x[:, 0, 0, 0], (top + autoencoder.RIM) / 127.5 - 1)
    assert len(top.unique()) > 2


def test_detail_is_amplified_to_that_of_scenes_and_nothing_else_is():
    x = tensor(np.stack([scene(0), scene(1)]))
    assert torch.equal(amplified(x, torch.zeros(3, 3)), x)
    gain = torch.tensor([[-0.1, 0.2, 0.0], [0.1, -0.1, 0.1], [0.0, 0.1, 0.05]])
    duller = amplified(x, gain)
    found = gains(duller, grain(x).mean(0))
    again = amplified(duller, found)
    lacked, lacks = (F.l1_loss(grain(part).mean(0), grain(x).mean(0)) for part in (duller, again))
    assert lacks < lacked / 5
    torch.testing.assert_close(F.avg_pool2d(again, 16), F.avg_pool2d(x, 16), atol=0.02, rtol=0)
    flat = torch.full((1, 3, 64, 64), 0.3)
    torch.testing.assert_close(amplified(flat, found), flat)


def test_the_last_convolution_learns_to_amplify_detail_as_well_at_the_border():
    model = load("landscapes-256").autoencoder
    latents = torch.cat([model.encode(tensor(scene(i)[None])) for i in range(3)])
    before = model.decode(latents)
    wanted = grain(amplified(before, torch.full((3, 3), 0.3))).mean(0)
    with torch.inference_mode():
        detail.fit(model, latents, wanted, 1.0)
    after = model.decode(latents)
    lacked, lacks = ((grain(x).mean(0) - wanted).abs().mean() for x in (before, after))
    assert lacks < lacked / 3
    error = (after - amplified(before, gains(before, wanted))).abs()
    edges = torch.cat([error[..., 0], error[..., -1], error[..., 0, :], error[..., -1, :]])
    assert edges.mean() < error.mean()


def test_the_critic_tells_scenes_from_blurred_ones_and_weighs_as_much_as_the_other_loss():
    torch.manual_seed(0)
    x = tensor(np.stack([scene(0), scene(1)]))[..., 128:192, 64:128]
    weights = torch.eye(3)[..., None, None].requires_grad_()
    critic = autoencoder.Critic(5e-3, "cpu")
    for _ in range(autoencoder.WARM_UP):
        blurred = F.conv2d(F.avg_pool2d(x, 3, 1, 1), weights)
        other = 1e-3 * (blurred - x).square().mean()
        loss = critic.loss(blurred, x, other, weights)
    assert (critic.network(x).mean((1, 2, 3)) > critic.network(blurred).mean((1, 2, 3))).all()
    parts = (other, loss)
    theirs, ours = (torch.autograd.grad(p, weights, retain_graph=True)[0].norm() for p in parts)
    torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=0)
