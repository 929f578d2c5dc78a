"""Properties of msanii.diffusion over many schedules, timesteps and dtypes; the lesson itself is
nbs/10_diffusion.ipynb."""
import math

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr
from hypothesis import given, settings, strategies as st

from msanii.diffusion import (OBJECTIVES, Schedule, cosine_betas, diffusion_loss, linear_betas, q_posterior,
                              q_sample, sigmoid_betas, target, to_eps, to_v, to_x0, zero_terminal_snr)

quick = settings(deadline=None, max_examples=40, derandomize=True, database=None)
names, lengths = st.sampled_from(["cosine", "linear", "sigmoid"]), st.integers(1, 2000)


def data(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@quick
@given(names, lengths)
def test_schedules_fall_from_one_towards_zero(name, T):
    schedule = Schedule.named(name, T)
    assert schedule.T == len(schedule.betas) == len(schedule.abar) == T
    assert schedule.abar.dtype == torch.float64
    assert 0 < schedule.abar[-1] and schedule.abar[0] < 1
    assert (schedule.abar.diff() < 0).all()
    assert schedule.abar_at(-1) == 1 and schedule.lam(-1) == math.inf


@pytest.mark.parametrize("make", [cosine_betas, linear_betas, sigmoid_betas])
@pytest.mark.parametrize("T", [0, -3])
def test_a_schedule_needs_a_step(make, T):
    with pytest.raises(ValueError, match="at least one step"):
        make(T)


@quick
@given(names, lengths.filter(lambda T: T > 1), st.data())
def test_the_conversions_invert_one_another(name, T, draw):
    schedule = Schedule.named(name, T)
    t = torch.tensor([draw.draw(st.integers(0, T - 1)) for _ in range(3)])
    x0, eps = data(3, 2, 5), data(3, 2, 5, seed=1)
    xt = q_sample(x0, t, eps, schedule)
    wanted = {"epsilon": eps, "x0": x0, "v": target(x0, eps, t, schedule, "v")}
    for objective in OBJECTIVES:
        out = wanted[objective]
        torch.testing.assert_close(to_x0(out, xt, t, schedule, objective), x0, atol=1e-7, rtol=1e-7)
        torch.testing.assert_close(to_eps(out, xt, t, schedule, objective), eps, atol=1e-7, rtol=1e-7)
        torch.testing.assert_close(to_v(out, xt, t, schedule, objective), wanted["v"], atol=1e-7, rtol=1e-7)


@quick
@given(names, st.integers(2, 1000), st.data())
def test_the_posterior_is_bayes_rule(name, T, draw):
    "q(x_t | x_s) q(x_s | x0) / q(x_t | x0), as log densities, against the posterior's own density."
    schedule = Schedule.named(name, T)
    t = draw.draw(st.integers(1, T - 1))
    s = draw.draw(st.integers(0, t - 1))
    x0, xt, xs = data(6, 1), data(6, 1, seed=1), data(6, 1, seed=2)
    def log_normal(x, mean, variance): return -((x - mean) ** 2 / variance + variance.log()) / 2
    a_t, a_s = schedule.abar[t], schedule.abar[s]
    bayes = (log_normal(xt, (a_t / a_s).sqrt() * xs, 1 - a_t / a_s) + log_normal(xs, a_s.sqrt() * x0, 1 - a_s)
             - log_normal(xt, a_t.sqrt() * x0, 1 - a_t))
    mean, variance = q_posterior(x0, xt, t, schedule, s)
    torch.testing.assert_close(log_normal(xs, mean, variance), bayes, atol=1e-6, rtol=1e-6)


@quick
@given(names, st.integers(3, 1000), st.data())
def test_noising_composes(name, T, draw):
    schedule = Schedule.named(name, T)
    t = draw.draw(st.integers(1, T - 1))
    s = draw.draw(st.integers(0, t))
    x0, zero, one = data(4, 2), torch.zeros(4, 2).double(), torch.ones(4, 2).double()
    amplitude = q_sample(q_sample(x0, s, zero, schedule), t, zero, schedule, s=s)
    torch.testing.assert_close(amplitude, q_sample(x0, t, zero, schedule), atol=1e-12, rtol=1e-12)
    first = q_sample(q_sample(zero, s, one, schedule), t, zero, schedule, s=s)
    second = q_sample(zero, t, one, schedule, s=s)
    both = q_sample(zero, t, one, schedule) ** 2
    torch.testing.assert_close(first**2 + second**2, both, atol=1e-12, rtol=1e-12)


@quick
@given(names, st.integers(2, 1500))
def test_zero_terminal_snr_agrees_with_diffusers(name, T):
    betas = Schedule.named(name, T).betas
    ours = zero_terminal_snr(betas)
    assert Schedule(ours).abar[-1] == 0
    torch.testing.assert_close(ours, rescale_zero_terminal_snr(betas), atol=1e-9, rtol=0)


def test_at_zero_terminal_snr_epsilon_is_refused_and_v_works():
    schedule = Schedule(zero_terminal_snr(cosine_betas()))
    x0, eps = data(2, 3), data(2, 3, seed=1)
    xt = q_sample(x0, 999, eps, schedule)
    for convert in (to_x0, to_v):
        with pytest.raises(ValueError, match="use the objective 'v' or 'x0'"):
            convert(eps, xt, torch.tensor([3, 999]), schedule)
    torch.testing.assert_close(to_x0(target(x0, eps, 999, schedule, "v"), xt, 999, schedule, "v"), x0)
    mean, variance = q_posterior(x0, xt, 999, schedule)
    torch.testing.assert_close(mean, schedule.alpha(998, x0) * x0)
    torch.testing.assert_close(variance, schedule.sigma(998, x0) ** 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_half_precision_is_widened_and_stays_finite(dtype, objective):
    schedule = Schedule.named("cosine")
    xt, out = 3 * data(4, 8, dtype=dtype), -3 * data(4, 8, seed=1, dtype=dtype)
    for t in (0, 500, 999):
        for convert in (to_x0, to_eps, to_v):
            converted = convert(out, xt, t, schedule, objective)
            assert converted.dtype == torch.float32 and converted.isfinite().all()
    loss = diffusion_loss(lambda x, t: x, xt, torch.tensor([0, 1, 500, 999]), out, schedule, objective)
    assert loss.dtype == torch.float32 and loss.isfinite()


@pytest.mark.parametrize("loss, wanted", [("l1", 2.0), ("l2", 4.0)])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_loss_measures_the_distance_to_the_target(loss, wanted, objective):
    schedule, t = Schedule.named("cosine"), torch.tensor([0, 400, 999])
    x0, eps = data(3, 2, 4), data(3, 2, 4, seed=1)
    seen = []
    def model(xt, t):
        seen.append((xt, t))
        return target(x0, eps, t, schedule, objective) + 2
    assert diffusion_loss(model, x0, t, eps, schedule, objective, loss).item() == pytest.approx(wanted)
    assert torch.equal(seen[0][0], q_sample(x0, t, eps, schedule)) and torch.equal(seen[0][1], t)


def test_gradients_reach_the_model():
    weight = torch.ones(1, requires_grad=True)
    x0, eps = data(2, 3).float(), data(2, 3, seed=1).float()
    t, schedule = torch.tensor([1, 2]), Schedule.named("cosine")
    diffusion_loss(lambda x, t: weight * x, x0, t, eps, schedule).backward()
    assert weight.grad.abs() > 0


@pytest.mark.parametrize("call, message", [
    (lambda s, x: s.alpha(1000, x), "t = 0 ... 999"),
    (lambda s, x: s.sigma(-2, x), "t = 0 ... 999"),
    (lambda s, x: s.alpha(torch.tensor([1, 2, 3]), x), "3 values for 2 items"),
    (lambda s, x: s.alpha(0.5, x), "integers"),
    (lambda s, x: s.alpha(torch.tensor([True, False]), x), "integers"),
    (lambda s, x: s.alpha(1, x.long()), "floats"),
    (lambda s, x: q_sample(x, 3, x, s, s=4), "must not be later"),
    (lambda s, x: q_posterior(x, x, 3, s, 3), "must be earlier"),
    (lambda s, x: q_posterior(x, x, -1, s, -1), "must be earlier"),
    (lambda s, x: to_eps(x, x, -1, s, "x0"), "no noise"),
    (lambda s, x: to_x0(x, x, 3, s, "noise"), "epsilon, x0, v"),
    (lambda s, x: target(x, x, 3, s, "eps"), "epsilon, x0, v"),
    (lambda s, x: diffusion_loss(lambda x, t: x, x, torch.tensor([1, 2]), x, s, loss="huber"), "l1 or l2"),
    (lambda s, x: diffusion_loss(lambda x, t: x[:1], x, torch.tensor([1, 2]), x, s), "must agree"),
    (lambda s, x: Schedule(torch.tensor([0.1, 1.0, 0.1])), "only the last"),
    (lambda s, x: Schedule(torch.tensor([0.1, math.nan])), "above 0"),
    (lambda s, x: Schedule(torch.tensor([0.0, 0.1])), "above 0"),
    (lambda s, x: Schedule([]), "T >= 1"),
    (lambda s, x: Schedule.named("square"), "cosine, linear, sigmoid"),
    (lambda s, x: cosine_betas(max_beta=1.0), "max_beta"),
    (lambda s, x: zero_terminal_snr([0.1]), "at least two"),
])
def test_bad_input_is_explained(call, message):
    with pytest.raises(ValueError, match=message.replace("...", r"\.\.\.")):
        call(Schedule.named("cosine"), data(2, 3))
