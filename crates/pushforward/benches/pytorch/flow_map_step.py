"""The cases of `flow_map_step.rs` in PyTorch 2.13: the same network, losses and step, float32 on two threads.

    python flow_map_step.py [--describe | --serve | ROUNDS]      as `twin.py` says; errors are those of derivatives

Derivatives in time are forward-mode dual numbers, and gradients run backwards through them. In 2.13 some operations do not
take part in that: `scaled_dot_product_attention` has no forward mode on CPUs, the gradient of `layer_norm`'s tangent is
wrong, that of `softmax`'s is refused, and `linear` adds a product with a zero tangent of its weight. Where a tangent is
present their rules are written out; everywhere else PyTorch's operations are used.
"""

import math
from functools import partial

import torch
import torch.autograd.forward_ad as forward
import torch.nn.functional as F
from torch import nn

import twin

BATCH, LENGTH, CLASSES = 16, 128, 27
WIDTH, BLOCKS, HEADS, COND, FEATURES = 256, 6, 8, 128, 256


# --- network


class Linear(nn.Linear):
    def forward(self, x):
        x, dx = forward.unpack_dual(x)
        y = super().forward(x)
        return y if dx is None else forward.make_dual(y, F.linear(dx, self.weight))


class LayerNorm(nn.LayerNorm):
    def forward(self, x):
        x, dx = forward.unpack_dual(x)
        if dx is None:
            return super().forward(x)
        x, dx = x - x.mean(-1, keepdim=True), dx - dx.mean(-1, keepdim=True)
        rate = torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)
        n = x * rate
        dn = (dx - n * (n * dx).mean(-1, keepdim=True)) * rate
        return forward.make_dual(n * self.weight + self.bias, dn * self.weight)


def softmax_tangent(p, dz):
    return p * (dz - (p * dz).sum(-1, keepdim=True))


def attention(q, k, v):
    """The tangent, if there is one, enters with v; q and k then have theirs."""
    if forward.unpack_dual(v).tangent is None:
        return F.scaled_dot_product_attention(q, k, v)
    scores, d_scores = forward.unpack_dual(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5)
    p = scores.softmax(-1)
    return forward.make_dual(p, softmax_tangent(p, d_scores)) @ v


def modulate(x, shift, scale):
    return x * (1 + scale) + shift


def zeroed(linear):
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


class TimeEmbedding(nn.Sequential):
    def __init__(self):
        super().__init__(Linear(FEATURES, COND), nn.SiLU(), Linear(COND, COND))
        half = FEATURES // 2
        self.register_buffer("frequencies", 10_000.0 ** (-torch.arange(half) / half), persistent=False)

    def forward(self, a):
        angle = a[:, None] * self.frequencies
        return F.silu(super().forward(torch.cat([angle.cos(), angle.sin()], -1)))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm_attention = LayerNorm(WIDTH)
        self.qkv = Linear(WIDTH, 3 * WIDTH, bias=False)
        self.attention_output = Linear(WIDTH, WIDTH, bias=False)
        self.norm_mlp = LayerNorm(WIDTH)
        self.mlp_first = Linear(WIDTH, 4 * WIDTH)
        self.mlp_second = Linear(4 * WIDTH, WIDTH)
        self.modulation = zeroed(Linear(COND, 6 * WIDTH))

    def forward(self, x, cond, cos, sin):
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulation(cond)[:, None].chunk(6, -1)
        h = modulate(self.norm_attention(x), shift_a, scale_a)
        q, k, v = self.qkv(h).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        h = attention(rotate(q, cos, sin), rotate(k, cos, sin), v)
        x = x + gate_a * self.attention_output(h.transpose(1, 2).flatten(2))
        h = modulate(self.norm_mlp(x), shift_m, scale_m)
        return x + gate_m * self.mlp_second(F.gelu(self.mlp_first(h), approximate="tanh"))


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Dit(nn.Module):
    """Logits `[batch, LENGTH, CLASSES]` of the endpoint of points x at times s, for jumps to t."""

    def __init__(self):
        super().__init__()
        self.input = Linear(CLASSES, WIDTH)
        self.start, self.length = TimeEmbedding(), TimeEmbedding()
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.norm = LayerNorm(WIDTH)
        self.modulation = zeroed(Linear(COND, 2 * WIDTH))
        self.output = zeroed(Linear(WIDTH, CLASSES))
        half = WIDTH // HEADS // 2
        angle = torch.arange(LENGTH)[:, None] * 10_000.0 ** (-torch.arange(half) / half)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, x, s, t):
        cond = self.start(s) + self.length(t - s)
        h = self.input(x * CLASSES**-0.5)
        for block in self.blocks:
            h = block(h, cond, self.cos, self.sin)
        shift, scale = self.modulation(cond)[:, None].chunk(2, -1)
        return self.output(modulate(self.norm(h), shift, scale))


def with_tangent(net, x, s, t, dx=None, ds=None, dt=None):
    """The network and its derivative along a direction."""
    with forward.dual_level():
        dual = [v if d is None else forward.make_dual(v, d) for v, d in ((x, dx), (s, ds), (t, dt))]
        return forward.unpack_dual(net(*dual))


# --- losses: logits and their derivative to one number per variable; s and t are [batch, 1, 1]


def kl(q, z):
    return (torch.xlogy(q, q) - q * z.log_softmax(-1)).sum(-1)


def endpoint(z, dz):
    """Endpoint and its derivative."""
    pi = z.softmax(-1)
    return pi, softmax_tangent(pi, dz)


def csd(z, dz, z_tt, x, s, t):
    pi, dpi = endpoint(z, dz)
    gamma = (t - s) / (1 - s)
    stopped = z_tt.softmax(-1) - torch.lerp(x, pi.detach(), gamma)
    return ((pi - x) * (1 - gamma) + dpi * (1 - t) * gamma - stopped).square().sum(-1)


def lsd(z, dz, z_tt, x, s, t):
    pi, dpi = endpoint(z, dz)
    gamma = (t - s) / (1 - s)
    stopped = z_tt.softmax(-1) - torch.lerp(x, pi.detach(), gamma)
    return ((pi - x) / (1 - s) + dpi * gamma - stopped / (1 - t).clamp(min=0.05)).square().sum(-1)


def ecld(z, dz, z_tt, x, s, t):
    _, dpi = endpoint(z, dz)
    gamma = ((t - s) / (1 - s)).squeeze(-1)
    return 4 * kl(z_tt.softmax(-1), z) + 2 * gamma.square() * dpi.square().sum(-1)


def psd(z, z_su, z_ut, r, s, t):
    share = (1 - r) / (1 - r * (t - s) / (1 - s))
    return kl(torch.lerp(z_su.softmax(-1), z_ut.softmax(-1), share), z)


def lsd_logit(z, dz, z_tt, x, s, t):
    with torch.no_grad():
        mean = (z.softmax(-1) * dz).sum(-1, keepdim=True)
        argument = 1 + (1 - t) * (t - s) / (1 - s) * (dz - mean)
        target = (z_tt - argument.clamp(min=0.01).log()).softmax(-1)
    return kl(target, z)


def esd_logit(z, dz, z_ss, s, t):
    with torch.no_grad():
        pi = z.softmax(-1)
        moved = pi * (1 + dz - (pi * dz).sum(-1, keepdim=True)).clamp(min=0.01)
        target = torch.lerp(z_ss.softmax(-1), moved, (t - s) / (1 - s))
        target /= target.sum(-1, keepdim=True)
    return kl(target, z)


def loss(net, kind, ids):
    """The mean loss of a batch under fresh noise and times."""
    x0, x1 = torch.randn(BATCH, LENGTH, CLASSES), F.one_hot(ids, CLASSES).float()
    if kind == "diagonal":
        t = torch.rand(BATCH)
        return F.cross_entropy(net(torch.lerp(x0, x1, t[:, None, None]), t, t).flatten(0, 1), ids.flatten())
    s, t = torch.rand(2, BATCH).sort(0).values
    s_, t_ = s[:, None, None], t[:, None, None]
    x = torch.lerp(x0, x1, s_)

    @torch.no_grad()
    def at_end(z):
        return net(torch.lerp(x, z.softmax(-1), (t_ - s_) / (1 - s_)), t, t)

    if kind in ("csd", "lsd", "ecld"):
        z, dz = with_tangent(net, x, s, t, dt=torch.ones_like(t))
        per_site = {"csd": csd, "lsd": lsd, "ecld": ecld}[kind](z, dz, at_end(z), x, s_, t_)
    elif kind == "psd":
        r = torch.rand(BATCH).clamp(1e-3, 1 - 1e-3)
        u = torch.lerp(s, t, r)
        with torch.no_grad():
            z_su = net(x, s, u)
            z_ut = net(torch.lerp(x, z_su.softmax(-1), ((u - s) / (1 - s))[:, None, None]), u, t)
        per_site = psd(net(x, s, t), z_su, z_ut, r[:, None, None], s_, t_)
    elif kind == "lsd-logit":
        with torch.no_grad():
            _, dz = with_tangent(net, x, s, t, dt=torch.ones_like(t))
        z = net(x, s, t)
        per_site = lsd_logit(z, dz, at_end(z), x, s_, t_)
    elif kind == "esd-logit":
        with torch.no_grad():
            z_ss = net(x, s, s)
            _, dz = with_tangent(net, x, s, t, dx=z_ss.softmax(-1) - x, ds=1 - s)
        per_site = esd_logit(net(x, s, t), dz, z_ss, s_, t_)
    return per_site.mean()


# --- cases


def train(kind):
    net, ids = Dit(), torch.randint(CLASSES, (BATCH, LENGTH))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, weight_decay=0.0, fused=True)

    def step():
        value = loss(net, kind, ids)
        optimizer.zero_grad()
        value.backward()
        norm = nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        assert math.isfinite(value.item()) and math.isfinite(norm.item())
        optimizer.step()

    return net, step


def sample(batch, steps):
    net = Dit().eval()

    @torch.inference_mode()
    def run():
        x = torch.randn(batch, LENGTH, CLASSES)
        for i in range(steps):
            s, t = i / steps, (i + 1) / steps
            pi = net(x, torch.full((batch,), s), torch.full((batch,), t)).float().softmax(-1)
            x = torch.lerp(x, pi, (t - s) / (1 - s))
        return x.argmax(-1)

    return net, run


KINDS = ("diagonal", "csd", "ecld", "lsd", "psd", "lsd-logit", "esd-logit")
CASES = {f"train/{kind}": partial(train, kind) for kind in KINDS}
CASES |= {f"sample/b{batch}-nfe{nfe}": partial(sample, batch, nfe) for batch in (1, 64) for nfe in (1, 4)}


# --- checks


def derivative_errors():
    """Relative errors in float64 of the value beside a tangent, the tangent, and the gradient through the tangent."""
    torch.manual_seed(1)
    net = Dit().double()
    direction = [0.02 * torch.randn_like(p) for p in net.parameters()]
    for p in net.parameters():
        p.data.add_(torch.randn_like(p), alpha=0.05)
    x, dx = torch.randn(2, 2, LENGTH, CLASSES).double()
    s, t, ds, dt = torch.tensor([[0.1, 0.4], [0.5, 0.9], [0.7, 0.5], [1.0, -0.3]]).double()
    error = lambda a, b: ((a - b).norm() / b.norm()).item()
    h = 1e-5

    def energy(shift):
        for p, d in zip(net.parameters(), direction):
            p.data.add_(d, alpha=shift)
        value = with_tangent(net, x, s, t, dx, ds, dt).tangent.square().sum()
        for p, d in zip(net.parameters(), direction):
            p.data.sub_(d, alpha=shift)
        return value

    value, tangent = with_tangent(net, x, s, t, dx, ds, dt)
    with torch.no_grad():
        difference = (net(x + h * dx, s + h * ds, t + h * dt) - net(x - h * dx, s - h * ds, t - h * dt)) / (2 * h)
    gradients = torch.autograd.grad(energy(0.0), list(net.parameters()), allow_unused=True)
    slope = sum((g * d).sum() for g, d in zip(gradients, direction) if g is not None)
    with torch.no_grad():
        return {
            "value": error(value, net(x, s, t)),
            "tangent": error(tangent, difference),
            "gradient": error(slope, (energy(h) - energy(-h)) / (2 * h)),
        }


if __name__ == "__main__":
    twin.main(CASES, derivative_errors)
