"""What several test files need: a model that is quick, since it is small and has learned nothing."""
import os

import pytest
import torch

from msanii.condition import SCORE_AND_CONTEXT
from msanii.pipeline import Msanii, Settings, pretrained_vocoder
from msanii.unet import UNet

# Tests compare bits of models in memory, which torch runs, with those of loaded ones. ONNX Runtime is tried
# in test_speed.py, and in the notebooks; MSANII_ONNX=1 before pytest tries it in all tests.
os.environ.setdefault("MSANII_ONNX", "0")


def untrained(conditional=True, **settings):
    """A small U-Net with the vocoder and the mel of the package, the same weights at each call.

    conditional: whether it takes a score and a context; settings: what differs from these `Settings`."""
    takes = dict(d_cond=SCORE_AND_CONTEXT.rows, join=True) if conditional else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet(width=16, levels=3, blocks=1, heads=4, expansion=1, **takes)
    settings = dict(objective="x0", steps=3, iterations=2) | settings
    return Msanii(unet, *pretrained_vocoder(), Settings(**settings))


@pytest.fixture(scope="module")
def one_thread():
    "For tests whose sums must not depend on how many threads add them up."
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small_model(): return untrained


@pytest.fixture(scope="session")
def model(): return untrained()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    "The same model, saved: what --weights takes."
    return untrained().save_pretrained(tmp_path_factory.mktemp("model"))
