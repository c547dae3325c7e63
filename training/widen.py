"""Starts a wider network from a narrower one's weights (Net2Net, Chen et al. 2016).

Added channels repeat old ones, so that almost every GroupNorm sees the groups it saw before.
"""

import torch


def copy_weights(model, weights):
    """Copies `weights` into `model`, repeating channels where it is wider.

    Missing output rows (the learned variance) become zero, missing 1x1 skips the identity.
    """
    state = model.state_dict()
    for name, parameter in state.items():
        tensor = weights.get(name)
        if tensor is None:
            tensor = missing(name, parameter, weights)
        if name.startswith("out.2."):
            tensor = with_rows(tensor, len(parameter))
        tensor = repeat(tensor, len(parameter), 0)
        if tensor.ndim > 1:
            tensor = split(tensor, parameter.shape[1])
        state[name] = tensor
    model.load_state_dict(state)


def missing(name, parameter, weights):
    """The weights of a 1x1 skip where channels went through unchanged."""
    if not name.endswith(("skip_connection.weight", "skip_connection.bias")):
        raise ValueError(
            f"The weights to start from have no {name}: give an ADM of the same layout."
        )
    channels = len(weights[name.split("skip_connection")[0] + "out_layers.3.bias"])
    if parameter.ndim == 1:
        return torch.zeros(channels)
    return torch.eye(channels)[:, :, None, None]


def with_rows(tensor, rows):
    return torch.cat([tensor, tensor.new_zeros(rows - len(tensor), *tensor.shape[1:])])


def repeat(tensor, size, dim):
    """Grows `dim` to `size`: its last channels stand twice, side by side."""
    return tensor.index_select(dim, sources(tensor.shape[dim], size))


def sources(old, new):
    added = new - old
    if not 0 <= added <= old:
        raise ValueError(f"{old} channels cannot grow to {new}: at most double them.")
    single = torch.arange(old - added)
    return torch.cat([single, torch.arange(old - added, old).repeat_interleave(2)])


def split(tensor, size):
    """Repeats input channels, their weights shared out unequally so that the twins grow apart."""
    index = sources(tensor.shape[1], size)
    shares = torch.ones(size)
    first = torch.rand((size - tensor.shape[1]), generator=torch.Generator().manual_seed(0))
    twins = torch.stack([first, 1 - first], dim=1).flatten()
    shares[len(index) - len(twins) :] = twins
    return tensor.index_select(1, index) * shares.view(1, -1, *[1] * (tensor.ndim - 2))
