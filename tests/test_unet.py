"""Residual blocks tile by tile equal the plain ones: sizes, precisions, gradients; and the layout of the
parameters."""
import math

import pytest
import torch

from msanii.unet import ResidualBlock, UNet


def pair(f, block, *args):
    "What f gives with tiles of 64 positions, and without."
    found, block.tile = [], 64
    for block.enough in (64, math.inf): found.append(f(*args))
    return found


@pytest.mark.parametrize("d_in, b, c, t", [
    (16, 1, 2, 32), (16, 1, 2, 33), (32, 3, 2, 64), (32, 1, 1, 65), (16, 2, 1, 300), (32, 2, 2, 129),
    (16, 1, 1, 2)])
def test_tiles_change_nothing(d_in, b, c, t):
    torch.manual_seed(0)
    block = ResidualBlock(d_in, 16, d_time=8)
    h, e = torch.randn(b, d_in, c, t, requires_grad=True), torch.randn(b, 8, requires_grad=True)
    target = torch.randn(b, 16, c, t)

    def run():
        y = block(h, e)
        return y, *torch.autograd.grad((y - target).abs().mean(), [h, e, *block.parameters()])

    for tiled, plain in zip(*pair(run, block)): torch.testing.assert_close(tiled, plain, rtol=1e-5, atol=1e-5)


def test_the_tiles_are_used(monkeypatch):
    "With a hidden layer of tiles, and not of the whole."
    block, sizes = ResidualBlock(16, 16), []
    gelu = torch.nn.functional.gelu
    monkeypatch.setattr(torch.nn.functional, "gelu", lambda x: (sizes.append(x.shape[-1]), gelu(x))[1])
    block.tile = block.enough = 64
    block(torch.randn(1, 16, 2, 80))
    assert sizes == [64, 64, 64, 64, 32, 32]


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_memory_layout_of_the_input(order):
    block, h = ResidualBlock(16, 16), torch.randn(2, 16, 2, 100).to(memory_format=order)
    with torch.no_grad(): torch.testing.assert_close(*pair(block, block, h), rtol=1e-5, atol=1e-5)


def test_half_precision():
    block, h = ResidualBlock(32, 16), torch.randn(2, 32, 2, 100)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tiled, plain = pair(block, block, h)
        assert tiled.dtype == plain.dtype
        tiled.float().square().mean().backward()
    torch.testing.assert_close(tiled, plain, rtol=5e-2, atol=5e-2)
    torch.testing.assert_close(tiled.float(), block(h), rtol=5e-2, atol=5e-2)
    assert all(p.grad.isfinite().all() and p.grad.dtype == torch.float32 for p in block.parameters())


def test_double_precision():
    block, h = ResidualBlock(16, 16).double(), torch.randn(1, 16, 2, 100, dtype=torch.float64)
    torch.testing.assert_close(*pair(block, block, h), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("c, frames", [(1, 700), (2, 700)])
def test_whole_network(monkeypatch, c, frames):
    torch.manual_seed(0)
    net, x = UNet(width=32, levels=3, blocks=1, attention=1, heads=4).eval(), torch.randn(2, c, 128, frames)
    t = torch.tensor([3, 900])
    with torch.no_grad():
        monkeypatch.setattr(ResidualBlock, "enough", ResidualBlock.tile)
        tiled = net(x, t)
        monkeypatch.setattr(ResidualBlock, "enough", math.inf)
        plain = net(x, t)
    torch.testing.assert_close(tiled, plain, rtol=1e-5, atol=1e-5)


def test_parameters_are_the_papers():
    "Names and shapes that checkpoints rely on."
    with torch.device("meta"): net = UNet()
    assert sum(p.numel() for p in net.parameters()) == 49_878_016
    names = {name: tuple(p.shape) for name, p in ResidualBlock(512, 256, d_time=128).state_dict().items()}
    assert names == {
        "conv.weight": (256, 512, 3, 3), "conv.bias": (256,), "time.weight": (256, 128), "time.bias": (256,),
        "expand.weight": (1024, 256, 1, 1), "expand.bias": (1024,), "contract.weight": (256, 1024, 1, 1),
        "contract.bias": (256,),
        "skip.weight": (256, 512, 1, 1), "skip.bias": (256,)}
    assert all(f"up.6.1.0.{name}" in net.state_dict() for name in names)
