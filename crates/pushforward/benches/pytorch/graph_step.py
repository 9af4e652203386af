"""The cases of `graph_step.rs` in PyTorch 2.13: the same networks, losses and step, float32 on two threads.

    python graph_step.py [--describe | --serve | ROUNDS]      as `twin.py` says; errors are explained at their place

The published network holds edges as a matrix, `[batch, nodes, nodes, features]`; the other one holds unordered pairs. Points
and logits are nodes and pairs for both. Masks stand where they change what a graph of fewer nodes gets: at the softmax, at
the pooling and after a layer. Sums over the pairs of a node and over the ends of a pair are products with constant matrices,
which beat indexing, forward and backward. Derivatives in time are those of `flow_map_step.py`, with its limits of forward
mode; the tangents of `rms_norm` and of products with constants are written out too.
"""

import math
from functools import partial
from typing import NamedTuple

import torch
import torch.autograd.forward_ad as forward
import torch.nn.functional as F
from torch import nn

import twin
from flow_map_step import LayerNorm, Linear, csd, ecld, modulate, zeroed

EDGE_WEIGHT = 5.0


class Graph(NamedTuple):
    nodes: int
    node_classes: int
    edge_classes: int

    @property
    def pairs(self):
        return self.nodes * (self.nodes - 1) // 2

    def ends(self):
        """Nodes of every pair, row by row."""
        return torch.triu_indices(self.nodes, self.nodes, 1)

    def places(self):
        """The pair of every cell of a matrix of edges; on the diagonal the number of pairs."""
        i, j = self.ends()
        table = torch.full((self.nodes, self.nodes), self.pairs)
        table[i, j] = table[j, i] = torch.arange(self.pairs)
        return table


QM9 = Graph(nodes=9, node_classes=4, edge_classes=4)
ZINC = Graph(nodes=38, node_classes=9, edge_classes=4)


# --- parts


def two_layers(inputs, hidden, outputs):
    return nn.Sequential(Linear(inputs, hidden), nn.ReLU(), Linear(hidden, outputs))


def softmax(z, dim):
    z, dz = forward.unpack_dual(z)
    p = z.softmax(dim)
    return p if dz is None else forward.make_dual(p, p * (dz - (p * dz).sum(dim, keepdim=True)))


def times(matrix, x):
    """The product of a constant and a point; PyTorch's own would add one with a zero tangent of the constant."""
    x, dx = forward.unpack_dual(x)
    return matrix @ x if dx is None else forward.make_dual(matrix @ x, matrix @ dx)


def rms_norm(x):
    x, dx = forward.unpack_dual(x)
    if dx is None:
        return F.rms_norm(x, x.shape[-1:], eps=1e-5)
    rate = torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5)
    n = x * rate
    return forward.make_dual(n, (dx - n * (n * dx).mean(-1, keepdim=True)) * rate)


def pool(x, present):
    """Mean, least, largest and standard deviation of the entries that are there; the others are zero."""
    absent, count = present == 0, present.sum(1)
    mean = x.sum(1) / count
    least = x.masked_fill(absent, math.inf).min(1).values
    largest = x.masked_fill(absent, -math.inf).max(1).values
    variance = ((x - mean[:, None]) * present).square().sum(1) / (count - 1).clamp(min=1)
    # The root of zero has no derivative, and entries that are all alike are no rarity after a rectifier.
    flat = variance <= 0
    deviation = variance.masked_fill(flat, 1.0).sqrt().masked_fill(flat, 0.0)
    return torch.cat([mean, least, largest, deviation], -1)


# --- the published network


class Layer(nn.Module):
    def __init__(self, dx, de, dy, fx, fe, fy, head):
        super().__init__()
        self.head = head
        self.q, self.k, self.v = Linear(dx, dx), Linear(dx, dx), Linear(dx, dx)
        self.e_add, self.e_mul = Linear(de, dx), Linear(de, dx)
        self.y_e_add, self.y_e_mul = Linear(dy, dx), Linear(dy, dx)
        self.y_x_add, self.y_x_mul = Linear(dy, dx), Linear(dy, dx)
        self.y_y, self.x_y, self.e_y = Linear(dy, dy), Linear(4 * dx, dy), Linear(4 * de, dy)
        self.x_out, self.e_out, self.y_out = Linear(dx, dx), Linear(dx, de), two_layers(dy, dy, dy)
        self.nodes, self.edges, self.graph = two_layers(dx, fx, dx), two_layers(de, fe, de), two_layers(dy, fy, dy)

    def attention(self, x, e, y, mask):
        """Scores for every feature, and what the three streams get from them."""
        qk = (self.q(x) * self.head**-0.5)[:, :, None] * self.k(x)[:, None]
        scores = torch.addcmul(self.e_add(e), qk, 1 + self.e_mul(e))
        new_e = modulate(scores, self.y_e_add(y)[:, None, None], self.y_e_mul(y)[:, None, None])
        seen = (softmax(scores + mask.keys, 2) * self.v(x)[:, None]).sum(2)
        new_x = modulate(seen, self.y_x_add(y)[:, None], self.y_x_mul(y)[:, None])
        pooled = self.x_y(pool(x, mask.nodes)) + self.e_y(pool(e.flatten(1, 2), mask.edges.flatten(1, 2)))
        return self.x_out(new_x), self.e_out(new_e), self.y_out(self.y_y(y) + pooled)

    def forward(self, x, e, y, mask):
        new_x, new_e, new_y = self.attention(x, e, y, mask)
        x, e, y = rms_norm(x + new_x), rms_norm(e + new_e), rms_norm(y + new_y)
        x, e, y = rms_norm(x + self.nodes(x)), rms_norm(e + self.edges(e)), rms_norm(y + self.graph(y))
        return x * mask.nodes, e * mask.edges, y


class Mask(NamedTuple):
    """Nodes `[batch, nodes, 1]` and edges `[batch, nodes, nodes, 1]` that are there; what keys that are not add to scores."""

    nodes: torch.Tensor
    edges: torch.Tensor
    keys: torch.Tensor


class Published(nn.Module):
    """Logits of nodes and pairs of the endpoint of points x at times s, for jumps to t."""

    FEATURES = 128

    def __init__(self, graph, layers, widths=(256, 64, 64), hidden=(256, 128, 128), outer=(256, 128, 128), heads=8):
        super().__init__()
        self.graph = graph
        (dx, de, dy), (hx, he, hy) = widths, outer
        self.time = two_layers(2 * self.FEATURES, hy, dy)
        self.nodes_in, self.edges_in = two_layers(graph.node_classes, hx, dx), two_layers(graph.edge_classes, he, de)
        self.layers = nn.ModuleList(Layer(*widths, *hidden, dx // heads) for _ in range(layers))
        self.nodes_out, self.edges_out = two_layers(dx, hx, graph.node_classes), two_layers(de, he, graph.edge_classes)
        half = self.FEATURES // 2
        self.register_buffer("frequencies", 10_000.0 ** (-torch.arange(half) / half), persistent=False)
        i, j = graph.ends()
        self.register_buffer("above", i * graph.nodes + j, persistent=False)
        self.register_buffer("below", j * graph.nodes + i, persistent=False)
        self.register_buffer("places", graph.places().flatten(), persistent=False)

    def features(self, a):
        angle = a[:, None] * self.frequencies
        return torch.cat([angle.cos(), angle.sin()], -1) * math.sqrt(2)

    def forward(self, x, s, t, present):
        nodes, pairs = x
        there = present[:, :, None]
        both = there[:, :, None] * there[:, None]
        mask = Mask(there, both, torch.zeros_like(there).masked_fill(there == 0, -math.inf)[:, None])
        edges = F.pad(pairs, (0, 0, 0, 1)).index_select(1, self.places).unflatten(1, (self.graph.nodes, -1))
        y = self.time(torch.cat([self.features(s), self.features(t - s)], -1)).relu()
        h, e = self.nodes_in(nodes).relu() * there, self.edges_in(edges).relu()
        e = (e + e.transpose(1, 2)) * (0.5 * both)
        for layer in self.layers:
            h, e, y = layer(h, e, y, mask)
        z = self.edges_out(e).flatten(1, 2)
        z = 0.5 * (z.index_select(1, self.above) + z.index_select(1, self.below))
        return self.nodes_out(h) + nodes, z + pairs


# --- ours


class TimeEmbedding(nn.Sequential):
    def __init__(self, features, cond):
        super().__init__(Linear(features, cond), nn.SiLU(), Linear(cond, cond))
        self.register_buffer("frequencies", 2 * math.pi * torch.randn(features), persistent=False)
        self.register_buffer("phases", 2 * math.pi * torch.rand(features), persistent=False)

    def forward(self, a):
        waves = math.sqrt(2) * (a[:, None] * self.frequencies + self.phases).cos()
        return F.silu(super().forward(waves))


class PairBlock(nn.Module):
    def __init__(self, width, pair_width, heads, cond, expansion):
        super().__init__()
        hidden, pair_hidden = expansion * width, expansion * pair_width
        self.heads = heads
        self.norm_attention, self.norm_mlp = LayerNorm(width), LayerNorm(width)
        self.norm_bias, self.norm_pairs = LayerNorm(pair_width), LayerNorm(pair_width)
        self.qkv = Linear(width, 3 * width, bias=False)
        self.bias = Linear(pair_width, heads)
        self.attention_output = Linear(width + pair_width, width)
        self.mlp_first, self.mlp_second = Linear(width, hidden), Linear(hidden, width)
        self.ends = Linear(width, pair_hidden, bias=False)
        self.pair_first, self.pair_second = Linear(pair_width, pair_hidden), Linear(pair_hidden, pair_width)
        self.modulation = zeroed(Linear(cond, 6 * width))
        self.pair_modulation = zeroed(Linear(cond, 3 * pair_width))

    def forward(self, h, e, cond, around):
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulation(cond)[:, None].chunk(6, -1)
        shift_e, scale_e, gate_e = self.pair_modulation(cond)[:, None].chunk(3, -1)
        m = modulate(self.norm_attention(h), shift_a, scale_a)
        p = self.norm_bias(e)
        bias = times(around.cells, self.bias(p)).unflatten(1, h.shape[1:2] * 2).permute(0, 3, 1, 2)
        q, k, v = self.qkv(m).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = biased_attention(q, k, v, bias.masked_fill(around.absent, -math.inf)).transpose(1, 2).flatten(2)
        h = h + gate_a * self.attention_output(torch.cat([seen, times(around.gather, p)], -1))
        f = modulate(self.norm_mlp(h), shift_m, scale_m)
        h = h + gate_m * self.mlp_second(F.gelu(self.mlp_first(f), approximate="tanh"))
        f = self.pair_first(modulate(self.norm_pairs(e), shift_e, scale_e)) + times(around.spread, self.ends(m))
        return h, e + gate_e * self.pair_second(F.gelu(f, approximate="tanh"))


def biased_attention(q, k, v, bias):
    """Attention with a number added to every score. The tangent, if there is one, enters with v; q and k then have theirs."""
    if forward.unpack_dual(v).tangent is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    return softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + bias, -1) @ v


class Around(NamedTuple):
    """How nodes and pairs lie to each other: constant matrices, and keys that are not there."""

    gather: torch.Tensor
    spread: torch.Tensor
    cells: torch.Tensor
    absent: torch.Tensor


class Pairs(nn.Module):
    """Logits of nodes and pairs of the endpoint of points x at times s, for jumps to t."""

    def __init__(self, graph, blocks=5, width=128, pair_width=64, heads=8, cond=128, expansion=4, features=64):
        super().__init__()
        self.nodes_in, self.pairs_in = Linear(graph.node_classes, width), Linear(graph.edge_classes, pair_width)
        self.start, self.length = TimeEmbedding(features, cond), TimeEmbedding(features, cond)
        self.size = Linear(1, cond)
        self.blocks = nn.ModuleList(PairBlock(width, pair_width, heads, cond, expansion) for _ in range(blocks))
        self.norm, self.pair_norm = LayerNorm(width), LayerNorm(pair_width)
        self.modulation = zeroed(Linear(cond, 2 * width))
        self.pair_modulation = zeroed(Linear(cond, 2 * pair_width))
        self.nodes_out = zeroed(Linear(width, graph.node_classes))
        self.pairs_out = zeroed(Linear(pair_width, graph.edge_classes))
        self.ends = graph.ends()
        self.register_buffer("spread", sum(F.one_hot(end, graph.nodes) for end in self.ends).float(), persistent=False)
        cells = F.one_hot(graph.places().flatten(), graph.pairs + 1)[:, :-1]
        self.register_buffer("cells", cells.float().contiguous(), persistent=False)

    def forward(self, x, s, t, present):
        nodes, pairs = x
        i, j = self.ends
        gather = self.spread.T * (present[:, i] * present[:, j])[:, None]
        around = Around(gather, self.spread, self.cells, present[:, None, None] == 0)
        cond = self.start(s) + self.length(t - s) + self.size(present.mean(1, keepdim=True))
        h, e = self.nodes_in(nodes), self.pairs_in(pairs)
        for block in self.blocks:
            h, e = block(h, e, cond, around)
        shift, scale = self.modulation(cond)[:, None].chunk(2, -1)
        shift_e, scale_e = self.pair_modulation(cond)[:, None].chunk(2, -1)
        z = self.nodes_out(modulate(self.norm(h), shift, scale))
        return z, self.pairs_out(modulate(self.pair_norm(e), shift_e, scale_e))


# --- losses: one number per example, the mean over nodes and five times the mean over pairs


def along_t(net, x, s, t, present, dt=None):
    """Logits and their derivatives in t, field by field."""
    with forward.dual_level():
        z = net(x, s, forward.make_dual(t, torch.ones_like(t) if dt is None else dt), present)
        return [forward.unpack_dual(field) for field in z]


class Batch(NamedTuple):
    """Class indices of nodes and pairs; which nodes there are; weights of nodes and pairs in a mean."""

    ids: tuple
    present: torch.Tensor
    weights: tuple


def batch_of(graph, count):
    """Graphs of all nodes."""
    ids = (
        torch.randint(graph.node_classes, (count, graph.nodes)),
        torch.randint(graph.edge_classes, (count, graph.pairs)),
    )
    weights = (
        torch.full((count, graph.nodes), 1 / graph.nodes),
        torch.full((count, graph.pairs), EDGE_WEIGHT / graph.pairs),
    )
    return Batch(ids, torch.ones(count, graph.nodes), weights)


def lerp(x, y, weight):
    return tuple(torch.lerp(a, b, weight) for a, b in zip(x, y))


def endpoint(z):
    return tuple(field.softmax(-1) for field in z)


def noise(graph, count):
    return torch.randn(count, graph.nodes, graph.node_classes), torch.randn(count, graph.pairs, graph.edge_classes)


def loss(net, graph, kind, batch):
    """The mean loss of a batch under fresh noise and times."""
    count = len(batch.present)
    classes = (graph.node_classes, graph.edge_classes)
    x0, x1 = noise(graph, count), tuple(F.one_hot(ids, k).float() for ids, k in zip(batch.ids, classes))
    if kind == "diagonal":
        t = torch.rand(count)
        z = net(lerp(x0, x1, t[:, None, None]), t, t, batch.present)
        per_site = [F.cross_entropy(z.transpose(1, 2), ids, reduction="none") for z, ids in zip(z, batch.ids)]
    else:
        s, t = torch.rand(2, count).sort(0).values
        s_, t_ = s[:, None, None], t[:, None, None]
        x = lerp(x0, x1, s_)
        student = along_t(net, x, s, t, batch.present)
        with torch.no_grad():
            end = lerp(x, endpoint([z for z, _ in student]), (t_ - s_) / (1 - s_))
            z_tt = net(end, t, t, batch.present)
        formula = {"csd": csd, "ecld": ecld}[kind]
        per_site = [formula(z, dz, z_tt, x, s_, t_) for (z, dz), z_tt, x in zip(student, z_tt, x)]
    return sum((values * weights).sum(1).mean() for values, weights in zip(per_site, batch.weights))


# --- cases


def train(make, graph, count, kind):
    net, batch = make(graph), batch_of(graph, count)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, weight_decay=0.0, fused=True)

    def step():
        value = loss(net, graph, kind, batch)
        optimizer.zero_grad()
        value.backward()
        norm = nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        assert math.isfinite(value.item()) and math.isfinite(norm.item())
        optimizer.step()

    return net, step


def sample(make, graph, count):
    net, present = make(graph).eval(), torch.ones(count, graph.nodes)

    @torch.inference_mode()
    def run():
        x, s, t = noise(graph, count), torch.zeros(count), torch.ones(count)
        pi = endpoint(net(x, s, t, present))
        return [field.argmax(-1) for field in lerp(x, pi, ((t - s) / (1 - s))[:, None, None])]

    return net, run


NINE, TWELVE = partial(Published, layers=9), partial(Published, layers=12)
CASES = {f"train/qm9-{kind}": partial(train, NINE, QM9, 128, kind) for kind in ("diagonal", "csd", "ecld")}
CASES |= {f"train/qm9-pair-{kind}": partial(train, Pairs, QM9, 128, kind) for kind in ("diagonal", "ecld")}
# A step of the published network on 128 graphs of 38 nodes takes a CPU many seconds.
CASES |= {"train/zinc-diagonal": partial(train, TWELVE, ZINC, 16, "diagonal")}
CASES |= {"train/zinc-pair-diagonal": partial(train, Pairs, ZINC, 128, "diagonal")}
CASES |= {"sample/qm9-b128-nfe1": partial(sample, NINE, QM9, 128)}
CASES |= {"sample/qm9-pair-b128-nfe1": partial(sample, Pairs, QM9, 128)}


# --- checks


def errors():
    """Relative errors in float64 on graphs some of which lack nodes.

    They are those of the value beside a tangent, of the tangent, of the gradient through the tangent, and of the logits when
    nodes change places and other numbers stand where there is nothing.
    """
    torch.manual_seed(1)
    graph, found = Graph(nodes=5, node_classes=3, edge_classes=2), {}
    nets = {
        "published": Published(graph, 2, (16, 8, 8), (16, 12, 12), (16, 12, 12), heads=4),
        "pairs": Pairs(graph, blocks=2, width=16, pair_width=8, heads=4, cond=16, features=8),
    }
    error = lambda a, b: ((a - b).norm() / b.norm()).item()
    present = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]]).double()
    (i, j), places, order = graph.ends(), graph.places(), torch.tensor([3, 0, 4, 2, 1])
    s, t, dt = torch.tensor([[0.1, 0.4, 0.6], [0.5, 0.9, 0.8], [1.0, -0.3, 0.7]]).double()
    for name, net in nets.items():
        net = net.double()
        for p in net.parameters():
            p.data.add_(torch.randn_like(p), alpha=0.1)
        direction = [0.02 * torch.randn_like(p) for p in net.parameters()]
        there = present, present[:, i] * present[:, j]
        x, other = ([field.double() for field in noise(graph, 3)] for _ in range(2))
        h = 1e-6

        def seen(z):
            return torch.cat([(field * mask[..., None]).flatten() for field, mask in zip(z, there)])

        def energy(shift):
            for p, d in zip(net.parameters(), direction):
                p.data.add_(d, alpha=shift)
            tangent = seen([dz for _, dz in along_t(net, x, s, t, present, dt)])
            for p, d in zip(net.parameters(), direction):
                p.data.sub_(d, alpha=shift)
            return tangent.square().sum()

        def moved(fields):
            nodes, pairs = fields
            return nodes[:, order], pairs[:, places[order[i], order[j]]]

        pairs = along_t(net, x, s, t, present, dt)
        gradients = torch.autograd.grad(energy(0.0), list(net.parameters()), allow_unused=True)
        slope = sum((g * d).sum() for g, d in zip(gradients, direction) if g is not None)
        with torch.no_grad():
            value = net(x, s, t, present)
            difference = (seen(net(x, s, t + h * dt, present)) - seen(net(x, s, t - h * dt, present))) / (2 * h)
            elsewhere = [torch.where(mask[..., None] == 1, a, b) for a, b, mask in zip(x, other, there)]
            z = net(moved(elsewhere), s, t, present[:, order])
            back = [field * mask[..., None] for field, mask in zip(z, moved(there))]
            wanted = moved([field * mask[..., None] for field, mask in zip(value, there)])
            found |= {
                f"{name} value": error(seen([z for z, _ in pairs]), seen(value)),
                f"{name} tangent": error(seen([dz for _, dz in pairs]), difference),
                f"{name} gradient": error(slope, (energy(h) - energy(-h)) / (2 * h)),
                f"{name} order": max(error(a, b) for a, b in zip(back, wanted)),
            }
    return found


if __name__ == "__main__":
    twin.main(CASES, errors)
