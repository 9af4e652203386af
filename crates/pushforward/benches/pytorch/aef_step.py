"""The cases of `aef_step.rs` in PyTorch 2.13, but for the score: the same models, objectives and step, float32 on two threads.

    python aef_step.py [--describe | --serve | ROUNDS]      as `twin.py` says; errors are those of log-determinants

Autoencoders within flows on a partition of the image (`center`) and on a linear expansion (`linear`), and a variational
autoencoder with an inverse autoregressive flow (`vae-iaf`); Silvestri, Roos, Ambrogioni 2023, arXiv 2205.09546. All of them
map an image, perhaps with something beside it, to standard normal numbers; `Aef.apart` is that map with its
log-determinant, which is checked against the Jacobian that autograd finds. The other side computes two figures of health a
step more.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

import twin

BATCH, SIDE, ALPHA = 128, 28, 1e-6
PIXELS = SIDE * SIDE
LAYERS, HIDDEN, BLOCKS = 4, 256, 2


# --- flows: forward to the base variable, with the log-determinant of every row


class ActNorm(nn.Module):
    """One shift and scale for all features, set by the first batch; by multiplication or by division."""

    def __init__(self, multiply=False):
        super().__init__()
        self.log_scale, self.shift = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        self.multiply, self.ready = multiply, False

    def parts(self, x):
        if not self.ready:
            deviation, mean = torch.std_mean(x.detach())
            self.log_scale.data.fill_(-deviation.log() if self.multiply else deviation.log())
            self.shift.data.fill_(-mean / deviation if self.multiply else mean)
            self.ready = True
        scale = self.log_scale.exp() + 1e-5
        return scale, x.shape[1] * scale.log()

    def forward(self, x):
        scale, ladj = self.parts(x)
        return (x * scale + self.shift, ladj) if self.multiply else ((x - self.shift) / scale, -ladj)

    def inverse(self, z):
        scale, _ = self.parts(z)
        return (z - self.shift) / scale if self.multiply else z * scale + self.shift


class MaskedLinear(nn.Linear):
    """Keeps the weights from one degree to the same or a higher one; `strict`, to a higher one."""

    def __init__(self, degrees, to, strict=False):
        super().__init__(len(degrees), len(to))
        keep = to[:, None] > degrees if strict else to[:, None] >= degrees
        self.register_buffer("mask", keep.float(), persistent=False)

    def forward(self, x):
        return F.linear(x, self.weight * self.mask, self.bias)


class Made(nn.Module):
    """Scale and shift of every feature, given those before it."""

    def __init__(self, d):
        super().__init__()
        features = torch.arange(1, d + 1)
        hidden = torch.arange(HIDDEN) % max(1, d - 1) + min(1, d - 1)
        self.input = MaskedLinear(features, hidden)
        self.blocks = nn.ModuleList(
            nn.ModuleList([MaskedLinear(hidden, hidden), MaskedLinear(hidden, hidden)]) for _ in range(BLOCKS)
        )
        for _, second in self.blocks:
            nn.init.uniform_(second.weight, -1e-3, 1e-3)
            nn.init.uniform_(second.bias, -1e-3, 1e-3)
        self.output = MaskedLinear(hidden, features.repeat_interleave(2), strict=True)

    def forward(self, x):
        h = self.input(x)
        for first, second in self.blocks:
            h = h + second(F.relu(first(F.relu(h))))
        a, t = self.output(h).unflatten(-1, (-1, 2)).unbind(-1)
        return F.softplus(a) + 1e-3, t


class Maf(nn.Module):
    """Layers of: order reversed, masked affine map, normalisation."""

    def __init__(self, d, multiply=False):
        super().__init__()
        self.layers = nn.ModuleList(nn.ModuleList([Made(d), ActNorm(multiply)]) for _ in range(LAYERS))

    def forward(self, x):
        total = 0
        for made, norm in self.layers:
            x = x.flip(-1)
            s, t = made(x)
            x, ladj = norm(x * s + t)
            total = total + s.log().sum(-1) + ladj
        return x, total

    def inverse(self, z):
        """Feature by feature, the network anew for each."""
        for made, norm in reversed(self.layers):
            z, x = norm.inverse(z), torch.zeros_like(z)
            for i in range(z.shape[1]):
                s, t = made(x)
                x[:, i] = (z[:, i] - t[:, i]) / s[:, i]
            z = x.flip(-1)
        return z


# --- models


def log_standard(x):
    return -0.5 * (x.square().sum(-1) + x.shape[-1] * math.log(2 * math.pi))


def spiral(d):
    """The d pixels at the centre: sides of length 1, 1, 2, 2, 3, ... down, right, up, left."""
    row = column = SIDE // 2 - 1
    found, side = [], 0
    while len(found) < d:
        down, right = ((1, 0), (0, 1), (-1, 0), (0, -1))[side % 4]
        for _ in range(side // 2 + 1):
            found.append(row * SIDE + column)
            row, column = row + down, column + right
        side += 1
    return torch.tensor(sorted(found[:d]))


class Aef(nn.Module):
    def __init__(self, variant, d):
        super().__init__()
        self.variant, self.d = variant, d
        self.epsilon = 1e-6 if variant == "vae-iaf" else 1e-5
        self.norm = ActNorm()
        corner = 128 * (SIDE // 4) ** 2
        self.encoder = nn.Sequential(
            nn.Unflatten(1, (1, SIDE, SIDE)),
            nn.Conv2d(1, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 128, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(corner, 2 * d),
        )
        self.decoder = nn.Sequential(
            nn.Linear(d, corner),
            nn.Unflatten(1, (128, SIDE // 4, SIDE // 4)),
            nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 1, 4, stride=2, padding=1),
            nn.Flatten(),
        )
        self.pre_scale = nn.Parameter(torch.zeros(PIXELS))
        self.prior = Maf(d)
        self.flow = Maf(d, multiply=variant == "vae-iaf")  # of the core, or of the posterior
        if variant == "linear":
            self.core = nn.Linear(PIXELS, d)
        elif variant == "center":
            outside = torch.ones(PIXELS)
            outside[spiral(d)] = 0
            self.register_buffer("outside", outside, persistent=False)
            self.register_buffer("inside_at", spiral(d), persistent=False)
            self.register_buffer("outside_at", outside.nonzero().squeeze(1), persistent=False)

    def preprocess(self, x):
        a = (ALPHA + (1 - 2 * ALPHA) * x).clamp(1e-6, 1 - 1e-6)
        y = a.log() - torch.log1p(-a)
        h, ladj = self.norm(y)
        return h, (F.softplus(y) + F.softplus(-y)).sum(-1) + PIXELS * math.log1p(-2 * ALPHA) + ladj

    def belief(self, h):
        mean, raw = self.encoder(h).chunk(2, -1)
        return mean, F.softplus(raw) + self.epsilon

    def scale(self):
        return F.softplus(self.pre_scale) + self.epsilon

    def apart(self, x, beside=None):
        """Base variable, deviations, and the log-determinant of the map from image and `beside` to both.

        Beside the image stand the core of `linear`, by default the model's own, or the noise of `vae-iaf`.
        """
        h, ladj = self.preprocess(x)
        if self.variant == "vae-iaf":
            mean, scale = self.belief(h)
            z, volume = self.flow(mean + scale * beside)
        else:
            if self.variant == "center":
                core, seen = h[:, self.inside_at], h * self.outside
            else:
                core, seen = self.core(h) if beside is None else beside, h
            mean, scale = self.belief(seen)
            core, volume = self.flow(core)
            z = mean + scale * core
        z0, prior_ladj = self.prior(z)
        decoded, deviation = self.decoder(z), self.scale()
        if self.variant == "center":
            h, decoded, deviation = h[:, self.outside_at], decoded[:, self.outside_at], deviation[self.outside_at]
        log_det = ladj + volume + scale.log().sum(-1) + prior_ladj - deviation.log().sum()
        return z0, (h - decoded) / deviation, log_det

    def loss(self, x):
        noise = torch.randn(len(x), self.d) if self.variant == "vae-iaf" else None
        z0, deviations, log_det = self.apart(x, noise)
        value = log_standard(z0) + log_standard(deviations) + log_det
        return -(value if noise is None else value - log_standard(noise)).mean()

    def sample(self, count):
        z = self.prior.inverse(torch.randn(count, self.d))
        h = self.decoder(z) + self.scale() * torch.randn(count, PIXELS)
        return (torch.sigmoid(self.norm.inverse(h)) - ALPHA) / (1 - 2 * ALPHA)


def model(variant, d):
    """A model that has seen its first batch, and the batch."""
    net, x = Aef(variant, d), torch.rand(BATCH, PIXELS)
    with torch.no_grad():
        net.loss(x)
    return net, x


# --- cases


def train(variant, d):
    net, x = model(variant, d)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)

    def step():
        value = net.loss(x)
        optimizer.zero_grad()
        value.backward()
        norm = nn.utils.clip_grad_norm_(net.parameters(), 200.0)
        assert math.isfinite(value.item()) and math.isfinite(norm.item())
        optimizer.step()

    return net, step


def sample(d, count):
    net, _ = model("linear", d)

    @torch.inference_mode()
    def run():
        assert net.sample(count).isfinite().all()

    return net, run


CASES = {
    "train/linear-2": partial(train, "linear", 2),
    "train/linear-32": partial(train, "linear", 32),
    "train/vae-iaf-32": partial(train, "vae-iaf", 32),
    "train/center-32": partial(train, "center", 32),
    "sample/b64": partial(sample, 32, 64),
}


# --- checks


def errors():
    """Relative errors in float64 of log-determinants, against Jacobians, and of the prior's inverse."""
    torch.manual_seed(1)
    d, found = 3, {}
    error = lambda a, b: ((a - b).norm() / b.norm()).item()
    for variant in ("linear", "vae-iaf", "center"):
        net, _ = model(variant, d)
        net = net.double()
        for p in net.parameters():
            p.data.add_(torch.randn_like(p), alpha=0.02)
        width = PIXELS if variant == "center" else PIXELS + d

        def split(point):
            return point[:, :PIXELS], point[:, PIXELS:] if width > PIXELS else None

        def together(point):
            z0, deviations, _ = net.apart(*split(point[None]))
            return torch.cat([z0, deviations], -1).squeeze(0)

        point = torch.rand(width).double()
        jacobian = torch.autograd.functional.jacobian(together, point)
        with torch.no_grad():
            log_det = net.apart(*split(point[None]))[2]
            found[variant] = error(log_det, torch.linalg.slogdet(jacobian)[1])
            z = torch.randn(5, d).double()
            found[f"{variant} inverse"] = error(net.prior.inverse(net.prior(z)[0]), z)
    return found


if __name__ == "__main__":
    twin.main(CASES, errors)
