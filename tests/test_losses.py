"""Precision, shapes and refusals of the losses."""
import pytest
import torch

from msanii.losses import log_magnitude, spectral_convergence, spectral_loss

LOSSES = (spectral_convergence, log_magnitude, spectral_loss)


def pair(*shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    return 100 * torch.rand(shape, generator=g), 100 * torch.rand(shape, generator=g)


@pytest.mark.parametrize("loss", LOSSES)
def test_batch_is_the_mean_of_its_items(loss):
    p, t = pair(3, 2, 65, 7)
    torch.testing.assert_close(loss(p, t), torch.stack([loss(p[i], t[i]) for i in range(3)]).mean())
    torch.testing.assert_close(loss(p[0, :1], t[0, :1]), loss(p[0, 0], t[0, 0]))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16))
def test_half_precision(loss, dtype):
    p, t = (x.to(dtype) for x in pair(1, 2, 1025, 64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = loss(p, t)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, loss(p.float(), t.float()))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("level", (0.0, 1e-8, 1.0, 1e4))
def test_value_and_gradient_are_finite(loss, level):
    p = torch.full((1, 1, 9, 4), level, requires_grad=True)
    for target in (p.detach(), torch.zeros(1, 1, 9, 4)):
        value = loss(p, target)
        value.backward()
        assert value.isfinite() and p.grad.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("p, t", [
    (torch.ones(1, 2, 9, 4), torch.ones(1, 1, 9, 4)), (torch.ones(2, 9, 4), torch.ones(9, 4)),
    (torch.ones(9), torch.ones(9)), (torch.ones(0, 1, 9, 4), torch.ones(0, 1, 9, 4)),
    (torch.ones(9, 4), torch.ones(9, 4, dtype=torch.complex64))])
def test_refusals(loss, p, t):
    with pytest.raises(ValueError, match="of one shape"):
        loss(p, t)
