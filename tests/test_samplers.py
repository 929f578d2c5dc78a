"""Properties of msanii.samplers over steps, strengths and schedules, and more of the agreement with diffusers
than nbs/11_samplers.ipynb shows."""
import diffusers.schedulers.scheduling_ddpm as diffusers_ddpm
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from hypothesis import given, settings, strategies as st

from msanii.diffusion import OBJECTIVES, Schedule, q_sample, target, to_eps, zero_terminal_snr
from msanii.samplers import (SAMPLERS, Clipped, Denoiser, ddim, ddpm, dpm_solver, even_timesteps, invert,
                             lu_timesteps, noise, timesteps)

quick = settings(deadline=None, max_examples=60, derandomize=True, database=None)
names = st.sampled_from(["cosine", "linear", "sigmoid"])
cosine = Schedule.named("cosine")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def generators(*seeds): return [torch.Generator().manual_seed(seed) for seed in seeds]


def start(*shape, dtype=torch.float32): return noise(shape, generators(*range(shape[0])), dtype=dtype)


def toy(objective="epsilon", schedule=cosine):
    "A smooth model whose guesses of x0 reach beyond [-1, 1], so that clipping matters."
    def model(x, t):
        x0 = 1.3 * torch.tanh(2 * x + 0.3)
        return target(x0, to_eps(x0, x, t, schedule, "x0"), t, schedule, objective)
    return model


def asked(objective="epsilon", schedule=cosine, clip=False, model=None):
    "A denoiser of the toy, or of a model."
    denoiser = Denoiser(model or toy(objective, schedule), schedule, objective)
    return Clipped(denoiser) if clip else denoiser


every_sampler = pytest.mark.parametrize("sampler", [s.walk for s in SAMPLERS.values()], ids=list(SAMPLERS))


@quick
@given(st.integers(1, 1200), st.floats(0, 1), st.integers(1, 1200))
def test_timesteps(steps, strength, T):
    ts = timesteps(steps, strength, T)
    first = round(T * strength) - 1
    assert len(ts) == min(steps, first + 1)
    assert all(t > s for t, s in zip(ts, ts[1:]))
    if ts:
        assert ts[0] == first and ts == timesteps(steps, 1.0, first + 1)
        assert ts[-1] == (0 if len(ts) > 1 else first)
        for i, t in enumerate(reversed(ts)):
            # the nearest whole t
            assert len(ts) == 1 or abs(t * (len(ts) - 1) - first * i) * 2 <= len(ts) - 1


@quick
@given(st.integers(1, 300), st.floats(0, 1), names, st.integers(1, 1000), st.booleans())
def test_lu_timesteps(steps, strength, name, T, terminal):
    schedule = Schedule.named(name, T)
    if terminal and T > 1: schedule = Schedule(zero_terminal_snr(schedule.betas))
    ts = lu_timesteps(steps, schedule, strength)
    first = round(T * strength) - 1
    assert all(isinstance(t, int) for t in ts) and len(ts) <= min(steps, first + 1)
    assert all(t > s for t, s in zip(ts, ts[1:]))
    assert ts == [] if first < 0 else ts[0] == first
    if len(ts) > 1: assert ts[-1] == 0


@pytest.mark.parametrize("make", [timesteps, lambda steps, strength: lu_timesteps(steps, cosine, strength)])
@pytest.mark.parametrize("steps, strength, message", [
    (0, 1, "at least one"), (5, 1.01, "between 0"), (5, -0.1, "between 0"), (5, float("nan"), "between 0")])
def test_bad_steps_and_strengths_are_explained(make, steps, strength, message):
    with pytest.raises(ValueError, match=message):
        make(steps, strength)


@quick
@given(st.sampled_from(sorted(SAMPLERS)), st.integers(1, 12), st.floats(0, 1), names, st.integers(1, 300),
       st.sampled_from(["x0", "v"]))
def test_a_perfect_guess_is_returned(name, steps, strength, schedule_name, T, objective):
    "A model that knows the data brings any start home, from any strength, in any number of steps."
    schedule, x0 = Schedule.named(schedule_name, T), start(2, 3, dtype=torch.float64)
    ts = timesteps(steps, strength, T)
    x = q_sample(x0, ts[0], start(2, 3, dtype=torch.float64), schedule) if ts else x0
    model = lambda x, t: target(x0, to_eps(x0, x, t, schedule, "x0"), t, schedule, objective)
    made = SAMPLERS[name].walk(asked(objective, schedule, model=model), x, ts, generators(1, 2))
    torch.testing.assert_close(made, x0, atol=1e-9, rtol=1e-9)


@every_sampler
def test_no_strength_changes_nothing_and_a_little_changes_little(sampler):
    x0 = start(4, 2).clamp(-1, 1)
    assert torch.equal(sampler(asked(), x0, timesteps(20, 0)), x0)
    keep = lambda x, t: to_eps(x, x, t, cosine, "x0")  # the guess of a model to which any x is data
    ts = timesteps(20, 0.003)
    made = sampler(asked(model=keep), q_sample(x0, ts[0], start(4, 2), cosine), ts, generators(1, 2, 3, 4))
    assert (made - x0).abs().max() < 0.1


@every_sampler
@pytest.mark.parametrize("clip", [False, True])
def test_an_item_does_not_depend_on_its_batch(sampler, clip):
    x, ts = start(3, 2, 5), timesteps(9, 0.8)
    whole = sampler(asked(clip=clip), x, ts, generators(7, 8, 9))
    again = sampler(asked(clip=clip), x, ts, generators(7, 8, 9))
    assert torch.equal(whole, again)
    for i, seed in enumerate((7, 8, 9)):
        alone = sampler(asked(clip=clip), x[i : i + 1], ts, generators(seed))
        torch.testing.assert_close(alone[0], whole[i], atol=1e-5, rtol=1e-5)


@quick
@given(st.integers(0, 4), st.lists(st.integers(1, 5), max_size=3), st.integers(0, 2**31))
def test_noise_is_drawn_item_by_item(batch, shape, seed):
    seeds = [seed + i for i in range(batch)]
    z = noise((batch, *shape), generators(*seeds))
    assert z.shape == (batch, *shape) and z.dtype == torch.float32
    for i, s in enumerate(seeds):
        assert torch.equal(noise((1, *shape), generators(s))[0], z[i])
        assert torch.equal(noise((1, *shape), generators(s)[0])[0], z[i])


def test_noise_without_a_generator_follows_the_global_seed():
    torch.manual_seed(3)
    first = noise((2, 3), dtype=torch.float16)
    torch.manual_seed(3)
    assert torch.equal(noise((2, 3)).half(), first) and not torch.equal(noise((2, 3)).half(), first)


@pytest.mark.parametrize("ts", [
    timesteps(20), timesteps(7, 0.5), lu_timesteps(20, cosine), [999], [0], [500, 10]])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("clip", [False, True])
def test_ddim_with_eta_1_is_ddpm(ts, objective, clip):
    x = start(2, 3, dtype=torch.float64)
    a = ddpm(asked(objective, clip=clip), x, ts, generators(1, 2))
    b = ddim(asked(objective, clip=clip), x, ts, generators(1, 2), eta=1)
    torch.testing.assert_close(a, b, atol=1e-8, rtol=1e-8)


KINDS = {"epsilon": "epsilon", "x0": "sample", "v": "v_prediction"}
GRIDS = [timesteps(20), timesteps(7, 0.5), lu_timesteps(20, cosine)]


def walks(ours, scheduler, ts, objective, x, prepare, clip=False):
    "Every x along the way, of our sampler and of diffusers' scheduler, both from x."
    mine, theirs, model = [], [x], toy(objective)
    ours(asked(objective, clip=clip), x, lambda i, t, x, x0: mine.append(x))
    for t, s in zip(ts, ts[1:] + [-1]):
        out = model(theirs[-1], torch.full((len(x),), t))
        theirs.append(scheduler.step(out, t, theirs[-1], **prepare(t, s)).prev_sample)
    return torch.stack(mine), torch.stack(theirs[1:])


def scheduler_of(kind, objective, dtype, **kw):
    """As diffusers makes it for single precision; with its table replaced by the same one in double precision
    for double."""
    scheduler = kind(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2",
                     prediction_type=KINDS[objective], **kw)
    if dtype == torch.float64: scheduler.alphas_cumprod = cosine.abar
    return scheduler


precisions = pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-4), (torch.float64, 1e-6)])


@precisions
@pytest.mark.parametrize("ts", GRIDS)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("clip", [False, True])
def test_ddpm_agrees_with_diffusers(ts, objective, clip, dtype, tolerance, monkeypatch):
    monkeypatch.setattr(diffusers_ddpm, "randn_tensor",
                        lambda shape, generator, device, dtype: noise(shape, generator, device, dtype))
    scheduler = scheduler_of(DDPMScheduler, objective, dtype, clip_sample=clip)
    scheduler.set_timesteps(timesteps=ts)
    theirs = generators(1, 2, 3)
    ours = lambda denoiser, x, callback: ddpm(denoiser, x, ts, generators(1, 2, 3), callback)
    prepare = lambda t, s: dict(generator=theirs)
    a, b = walks(ours, scheduler, ts, objective, start(3, 4, dtype=dtype), prepare, clip)
    torch.testing.assert_close(a, b, atol=tolerance, rtol=0)


@precisions
@pytest.mark.parametrize("eta", [0, 0.5, 1])
@pytest.mark.parametrize("ts", GRIDS)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("clip", [False, True])
def test_ddim_agrees_with_diffusers(ts, objective, clip, eta, dtype, tolerance):
    scheduler, theirs = scheduler_of(DDIMScheduler, objective, dtype, clip_sample=clip), generators(1, 2, 3)
    scheduler.num_inference_steps = 1
    def prepare(t, s):
        # it steps to t - num_train_timesteps // num_inference_steps
        scheduler.register_to_config(num_train_timesteps=t - s)
        return dict(eta=eta, use_clipped_model_output=True,
                    variance_noise=noise((3, 4), theirs, dtype=dtype) if eta else None)
    ours = lambda denoiser, x, callback: ddim(denoiser, x, ts, generators(1, 2, 3), callback, eta)
    a, b = walks(ours, scheduler, ts, objective, start(3, 4, dtype=dtype), prepare, clip)
    torch.testing.assert_close(a, b, atol=tolerance, rtol=0)


@pytest.mark.parametrize("ts", [
    *GRIDS, timesteps(50), lu_timesteps(50, cosine, 0.7), "default 10", "default 25"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_dpm_solver_agrees_with_diffusers(ts, objective):
    default = isinstance(ts, str)
    scheduler = scheduler_of(DPMSolverMultistepScheduler, objective, torch.float32,
                             use_lu_lambdas=not default)
    scheduler.set_timesteps(int(ts.split()[1]) if default else len(ts))
    if default: ts = scheduler.timesteps.tolist()
    scheduler.timesteps = torch.tensor(ts)
    # in double precision, so that its alpha and sigma at t = 999 are not rounded apart
    scheduler.sigmas = torch.cat([(-cosine.lam(torch.tensor(ts))).exp(), torch.zeros(1)])
    ours = lambda denoiser, x, callback: dpm_solver(denoiser, x, ts, callback=callback)
    a, b = walks(ours, scheduler, ts, objective, start(3, 4), lambda t, s: {})
    torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


@every_sampler
@pytest.mark.parametrize("ts", [
    timesteps(20), lu_timesteps(20, Schedule(zero_terminal_snr(cosine.betas))), [999]])
def test_zero_terminal_snr(sampler, ts):
    schedule = Schedule(zero_terminal_snr(cosine.betas))
    x = start(2, 3)
    results = [sampler(asked(o, schedule), x, ts, generators(1, 2)) for o in ("v", "x0")]
    assert results[0].isfinite().all()
    torch.testing.assert_close(results[0], results[1], atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="use the objective 'v' or 'x0'"):
        sampler(asked("epsilon", schedule, model=lambda x, t: x), x, ts)


@every_sampler
def test_clip_bounds_every_guess_and_the_result(sampler):
    guesses = []
    how = dict(x=3 * start(3, 4), timesteps=timesteps(10), generator=generators(1, 2, 3))
    made = sampler(asked(clip=True), **how, callback=lambda i, t, x, x0: guesses.append(x0))
    assert torch.stack(guesses).abs().max() == 1 and made.abs().max() <= 1
    assert sampler(asked(), **how).abs().max() > 1


@every_sampler
def test_what_model_and_callback_receive(sampler):
    ts, times, told = timesteps(6, 0.4), [], []
    def model(x, t):
        assert t.shape == (2,) and t.dtype == torch.long and not torch.is_grad_enabled()
        times.append(t.tolist())
        return torch.zeros_like(x, dtype=torch.float16)  # a network under autocast answers in half precision
    made = sampler(asked(model=model), start(2, 3), ts, callback=lambda i, t, x, x0: told.append((i, t, x)))
    assert times == [[t, t] for t in ts]
    assert [(i, t) for i, t, _ in told] == list(enumerate(ts))
    assert torch.equal(told[-1][2], made) and made.dtype == torch.float32


@every_sampler
@pytest.mark.parametrize("change, message", [
    (dict(timesteps=[3, 5]), "must descend"),
    (dict(timesteps=[5, 5]), "must descend"),
    (dict(timesteps=[1000, 5]), "0 to 999"),
    (dict(timesteps=[5, -1]), "0 to 999"),
    (dict(x=torch.zeros(2, 3).half()), "float32"),
    (dict(denoiser=Denoiser(toy(), cosine, "noise")), "epsilon, x0, v"),
    (dict(denoiser=asked(model=lambda x, t: x[:, :1])), "must agree"),
])
def test_bad_input_is_explained(sampler, change, message):
    with pytest.raises(ValueError, match=message):
        sampler(**{"denoiser": asked(), "x": torch.zeros(2, 3), "timesteps": [5, 3], **change})


@pytest.mark.parametrize("generator, message", [
    (generators(1), "1 generators for 2 items"), (3, "torch.Generator"), ([1, 2], "torch.Generator")])
def test_bad_generators_are_explained(generator, message):
    with pytest.raises(ValueError, match=message):
        ddpm(asked(), torch.zeros(2, 3), [5, 3], generator)


@pytest.mark.parametrize("eta", [-0.1, 1.1, float("nan")])
def test_bad_eta_is_explained(eta):
    with pytest.raises(ValueError, match="eta"):
        ddim(asked(), torch.zeros(2, 3), [5, 3], eta=eta)


def gaussian(objective):
    "The best denoiser of data that are normal with mean 0.2 and deviation 0.5."
    def model(x, t):
        alpha, sigma = cosine.alpha(t, x), cosine.sigma(t, x)
        x0 = 0.2 + alpha * 0.25 / (alpha**2 * 0.25 + sigma**2) * (x - 0.2 * alpha)
        return target(x0, to_eps(x0, x, t, cosine, "x0"), t, cosine, objective)
    return Denoiser(model, cosine, objective)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_inversion_leads_back(objective):
    """Up by inversion and down by DDIM: home again, and the nearer the more steps; to the same noise for
    every objective."""
    x0 = 0.2 + 0.5 * start(40, 3, dtype=torch.float64)
    def away(steps):
        ts = timesteps(steps, 0.9)
        top = invert(gaussian(objective), x0, ts)
        return (ddim(gaussian(objective), top, ts) - x0).abs().max(), top
    assert away(400)[0] < away(50)[0] / 4 and away(400)[0] < 0.02
    up = invert(gaussian("epsilon"), x0, timesteps(50, 0.9))
    torch.testing.assert_close(away(50)[1], up, atol=1e-8, rtol=1e-8)


def test_a_stretch_of_a_denoiser():
    "at() gives the same guesses for some frames, where the network looks at each by itself."
    cond = torch.rand(2, 1, 3, 10)
    network = lambda x, t, cond: x * cond.sum(2, keepdim=True) + t[:, None, None, None]
    denoiser = Denoiser(network, cosine, "x0", cond)
    x = start(2, 1, 1, 10)
    assert torch.equal(denoiser.at(slice(3, 7))(x[..., 3:7], 5), denoiser(x, 5)[..., 3:7])
    plain = Denoiser(toy(), cosine)
    assert torch.equal(plain.at(slice(3, 7))(x[..., 3:7], 5), plain(x, 5)[..., 3:7])


def test_each_sampler_has_its_spacing():
    assert SAMPLERS["dpm"].spacing(9, cosine, 0.5) == lu_timesteps(9, cosine, 0.5)
    for name in ("ddpm", "ddim"): assert SAMPLERS[name].spacing(9, cosine, 0.5) == timesteps(9, 0.5)
    assert even_timesteps(9, Schedule.named("linear", 100)) == timesteps(9, 1.0, 100)
