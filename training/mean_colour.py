"""Gives a network, once, a path that predicts the mean colour of the noise.

The last GroupNorm has pairs of channels for groups. Let x be a colour of the noisy picture, m its
mean over the image, v its variance and K a function of the timestep. The pair (K + x, -K - x) is
normalised to (K + x) / s and keeps m, the pair (K + x, -K + x) to (K + x - m) / s and loses it: the
difference is m v / (K^2 + v)^(3/2). K makes this the best linear estimate of the noise's mean. The
pairs, two for each colour, are taken from the channels that matter least.
"""

import torch
import torch.nn.functional as F

from ilvr.unet import timestep_embedding
from training.loss import at, importance

LIFT = 1.0  # the path's values enter SiLU around here
PRIOR = 0.1  # variance of a picture's mean colour, pixels in [-1, 1]
FLOOR = 0.003  # least gain


@torch.no_grad()
def add_mean_colour(model, clean, posterior):
    """Rebuilds the last block and the head of `model` in place; clean: (B, 3, H, W) examples."""
    noisy, t = noised(clean, posterior)
    wanted = run(model, noisy, t)
    pairs = least_used(model.out[2].weight)
    feed(model, pairs, posterior, clean[0, 0].numel())
    rewire(model, pairs)
    refit(model, pairs, wanted, noisy, t, posterior)


def noised(clean, posterior):
    """The pictures at timesteps spread over the whole range -> (B, 3, H, W), (B,)."""
    t = torch.linspace(0, len(posterior.signal) - 1, len(clean)).long()
    eps = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    return at(posterior.signal, t) * clean + at(posterior.noise, t) * eps, t


def run(model, noisy, t):
    parts = zip(noisy.split(16), t.split(16), strict=True)
    return torch.cat([model(x, steps) for x, steps in parts])


def least_used(weight):
    """Six pairs (first channels) with the smallest weights in the head, (6,)."""
    norms = weight.square().sum(dim=(0, 2, 3)).view(-1, 2).sum(dim=1)
    return 2 * norms.argsort()[:6]


def gains(posterior, pixels):
    """Regression of the noise's mean on m, which is noise * it + signal * the picture's, (T,)."""
    noise, signal = posterior.noise, posterior.signal
    share = noise / pixels / (noise**2 / pixels + PRIOR * signal**2)
    return share.clamp(min=FLOOR)


def pedestals(posterior, pixels):
    """K for those gains, (T,)."""
    v = posterior.noise**2 + 0.25 * posterior.signal**2
    return ((v / gains(posterior, pixels)) ** (2 / 3) - v).clamp(min=0).sqrt()


def feed(model, pairs, posterior, pixels):
    """Makes one inner channel of the last block K(t) and sends it and x into the pairs."""
    block = model.output_blocks[-1][0]
    conv, skip = block.out_layers[3], block.skip_connection
    inner = int(conv.weight.square().sum(dim=(0, 2, 3)).argmin())
    set_inner(model, block, inner, inverse_silu(pedestals(posterior, pixels).clamp(min=0.01)))
    picture, offset = picture_from(model.input_blocks[0][0])
    for i, pair in enumerate(pairs.tolist()):
        second = -1 if i < 3 else 1
        for channel, x_sign, k_sign in ((pair, 1, 1), (pair + 1, second, -1)):
            conv.weight[channel], conv.bias[channel] = 0, 0
            conv.weight[channel, inner, 1, 1] = k_sign
            skip.weight[channel] = 0
            skip.weight[channel, -picture.shape[1] :, 0, 0] = x_sign * picture[i % 3]
            skip.bias[channel] = x_sign * offset[i % 3]


def set_inner(model, block, inner, values):
    """Channel `inner` after the block's second norm becomes `values` (T,) of the step alone."""
    linear, channels = block.emb_layers[1], block.out_layers[3].in_channels
    linear.weight[inner], linear.bias[inner] = 0, -1  # scale: nothing of the picture
    shift = channels + inner
    linear.weight[shift], linear.bias[shift] = fit_steps(model, values)
    block.out_layers[3].weight[:, inner] = 0


def inverse_silu(y):
    """x > 0 with silu(x) = y, by Newton's method."""
    x = y.clone()
    for _ in range(50):
        gate = torch.sigmoid(x)
        x = x - (x * gate - y) / (gate + x * gate * (1 - gate))
    return x


def fit_steps(model, wanted):
    """Weights (E,) and a bias for which the time embedding gives `wanted` (T,) at each step."""
    steps = timestep_embedding(torch.arange(len(wanted)), model.model_channels)
    emb = F.silu(model.time_embed(steps))
    emb = torch.cat([emb, torch.ones(len(emb), 1)], dim=1).double()
    ridge = 1e-4 * torch.eye(emb.shape[1], dtype=torch.float64)
    solution = torch.linalg.solve(emb.T @ emb + ridge, emb.T @ wanted.double())
    return solution[:-1].float(), solution[-1].float()


def picture_from(conv):
    """(3, C) and (3,) with which the first convolution's output gives the picture back."""
    kernel = conv.weight.flatten(1).double()  # (C, 27)
    inverse = torch.linalg.pinv(kernel)[[4, 13, 22]]
    return inverse.float(), -(inverse @ conv.bias.double()).float()


def rewire(model, pairs):
    """The head reads each colour's first pair minus its second; nothing else reads them."""
    norm, _, head = model.out
    x = torch.randn(100_000, generator=torch.Generator().manual_seed(0)) + LIFT
    slope = (torch.sigmoid(x) * (1 + x * (1 - torch.sigmoid(x)))).mean()
    for pair in (pairs, pairs + 1):
        norm.weight[pair], norm.bias[pair] = 1, LIFT
        head.weight[:, pair] = 0
    for colour in range(3):
        head.weight[colour, pairs[colour], 1, 1] = 1 / slope
        head.weight[colour, pairs[colour + 3], 1, 1] = -1 / slope


def refit(model, pairs, wanted, noisy, t, posterior, keep=1280):
    """Least squares for the head's other weights: its outputs are to be `wanted`, as before.

    `keep` pixels of each picture are used.
    """
    head = model.out[2]
    free = torch.ones(head.in_channels, dtype=torch.bool)
    free[torch.cat([pairs, pairs + 1])] = False
    gram = target = 0
    for x, steps, out in zip(noisy.split(16), t.split(16), wanted.split(16), strict=True):
        features = inputs(model, x, steps)[:, free.repeat_interleave(9)]
        pick = torch.randperm(features.shape[-1])[:keep]
        a = F.pad(features[..., pick], (0, 0, 0, 1), value=1).double()  # B (9 C + 1) P
        weighted = a * importance(posterior, steps, 0.5).double().view(-1, 1, 1)
        gram = gram + (weighted @ a.mT).sum(0)
        target = target + (weighted @ out.flatten(2)[..., pick].double().mT).sum(0)
    ridge = 1e-7 * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
    solution = torch.linalg.solve(gram + ridge, target).T.float()
    head.weight[:, free] = solution[:, :-1].reshape(len(solution), -1, 3, 3)
    head.bias.copy_(solution[:, -1])


def inputs(model, x, t):
    """What the head's convolution sees at each pixel, (B, 9 C, H W)."""
    seen = []
    hook = model.out[2].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(x, t)
    hook.remove()
    return F.unfold(seen[0], 3, padding=1)
