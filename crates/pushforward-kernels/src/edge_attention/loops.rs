//! The loops over the nodes of a graph, forward and backward.

use burn::backend::TensorMetadata as _;
use burn_flex::FlexTensor;

use crate::buffer::Slot;
use crate::simd::{exp, simd};

/// Batch, nodes, features.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) b: usize,
    pub(super) n: usize,
    pub(super) w: usize,
}

impl Sizes {
    pub(super) fn new(q: &FlexTensor) -> Self {
        let shape = q.shape();
        Self { b: shape[0], n: shape[1], w: shape[2] }
    }

    /// Elements of the node features of an entry.
    pub(super) fn node(self) -> usize {
        self.n * self.w
    }

    /// Elements of the edge features of an entry.
    pub(super) fn edge(self) -> usize {
        self.n * self.n * self.w
    }
}

/// `q, k, v, mul, add` of an entry, or their tangents.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a>(pub(super) [&'a [f32]; 5]);

simd! {
    /// Forward pass of an entry.
    pub(super) fn forward(
        xs: [Entry<'_>; 2], keys: &[f32], out: [&mut [Slot]; 4], log_sums: &mut [f32], scratch: &mut [f32], s: Sizes,
    ) {
        let Sizes { n, w, .. } = s;
        let [Entry([q, k, v, mul, add]), Entry([dq, dk, dv, dmul, dadd])] = xs;
        let [scores, seen, dscores, dseen] = out;
        let (max, rest) = scratch.split_at_mut(w);
        let (sum, rest) = rest.split_at_mut(w);
        let (value, mean) = rest.split_at_mut(w);
        let mean = &mut mean[..w];
        let there = |j: usize| keys.get(j).is_none_or(|key| *key != 0.0);
        for i in 0..n {
            let q = &q[i * w..][..w];
            max.fill(f32::MIN);
            for j in 0..n {
                let (k, at) = (&k[j * w..][..w], (i * n + j) * w);
                let (mul, add, out) = (&mul[at..][..w], &add[at..][..w], &mut scores[at..][..w]);
                for c in 0..w {
                    out[c].write(q[c] * k[c] * (1.0 + mul[c]) + add[c]);
                }
                if there(j) {
                    for c in 0..w {
                        // SAFETY: just written.
                        max[c] = max[c].max(unsafe { out[c].assume_init() });
                    }
                }
                if !dscores.is_empty() {
                    let (dq, dk) = (&dq[i * w..][..w], &dk[j * w..][..w]);
                    let (dmul, dadd, out) = (&dmul[at..][..w], &dadd[at..][..w], &mut dscores[at..][..w]);
                    for c in 0..w {
                        let slope = (dq[c] * k[c] + q[c] * dk[c]) * (1.0 + mul[c]);
                        out[c].write(slope + q[c] * k[c] * dmul[c] + dadd[c]);
                    }
                }
            }
            sum.fill(0.0);
            value.fill(0.0);
            mean.fill(0.0);
            let out = &mut seen[i * w..][..w];
            for j in (0..n).filter(|j| there(*j)) {
                let (v, scores) = (&v[j * w..][..w], &scores[(i * n + j) * w..][..w]);
                if dscores.is_empty() {
                    for c in 0..w {
                        // SAFETY: written above.
                        let p = exp(unsafe { scores[c].assume_init() } - max[c]);
                        sum[c] += p;
                        value[c] += p * v[c];
                    }
                    continue;
                }
                let dscores = &dscores[(i * n + j) * w..][..w];
                for c in 0..w {
                    // SAFETY: written above.
                    let [score, slope] = unsafe { [scores[c].assume_init(), dscores[c].assume_init()] };
                    let p = exp(score - max[c]);
                    sum[c] += p;
                    value[c] += p * v[c];
                    mean[c] += p * slope;
                }
            }
            for c in 0..w {
                // A fully masked row gives 0.
                let scale = if sum[c] > 0.0 { 1.0 / sum[c] } else { 0.0 };
                out[c].write(value[c] * scale);
                value[c] = scale;
                mean[c] *= scale;
            }
            if let Some(logs) = log_sums.get_mut(i * w..(i + 1) * w) {
                for c in 0..w {
                    logs[c] = max[c] + sum[c].max(f32::MIN_POSITIVE).ln();
                }
            }
            if dscores.is_empty() {
                continue;
            }
            sum.fill(0.0);
            for j in (0..n).filter(|j| there(*j)) {
                let (at, rows) = ((i * n + j) * w, j * w);
                let (scores, dscores) = (&scores[at..][..w], &dscores[at..][..w]);
                let (v, dv) = (&v[rows..][..w], &dv[rows..][..w]);
                for c in 0..w {
                    // SAFETY: written above.
                    let [score, slope] = unsafe { [scores[c].assume_init(), dscores[c].assume_init()] };
                    let p = exp(score - max[c]) * value[c];
                    sum[c] += p * ((slope - mean[c]) * v[c] + dv[c]);
                }
            }
            let out = &mut dseen[i * w..][..w];
            for c in 0..w {
                out[c].write(sum[c]);
            }
        }
    }
}

simd! {
    /// Backward pass of an entry.
    pub(super) fn backward(
        xs: [Entry<'_>; 2], keys: &[f32], log_sums: &[f32], upstream: [&[f32]; 4], out: [[&mut [f32]; 5]; 2],
        scratch: &mut [f32], s: Sizes,
    ) {
        let Sizes { n, w, .. } = s;
        let [Entry([q, k, v, mul, add]), Entry([dq, dk, dv, dmul, dadd])] = xs;
        let ([gs, go, hs, ho], [[gq, gk, gv, gmul, gadd], [gdq, gdk, gdv, gdmul, gdadd]]) = (upstream, out);
        let dual = !dq.is_empty();
        let (p, rest) = scratch.split_at_mut(n * w);
        let (slopes, rest) = rest.split_at_mut(n * w);
        let (a, rest) = rest.split_at_mut(n * w);
        let (big_g, rest) = rest.split_at_mut(w);
        let (big_h, rest) = rest.split_at_mut(w);
        let (mean, rest) = rest.split_at_mut(w);
        let (seen, rest) = rest.split_at_mut(w);
        let (through, rest) = rest.split_at_mut(w);
        let (zeros, _) = rest.split_at_mut(w);
        let zeros = &*zeros;
        let there = |j: usize| keys.get(j).is_none_or(|key| *key != 0.0);
        for i in 0..n {
            let (q, logs) = (&q[i * w..][..w], &log_sums[i * w..][..w]);
            let g = go.get(i * w..(i + 1) * w).unwrap_or(zeros);
            let h = ho.get(i * w..(i + 1) * w).unwrap_or(zeros);
            // Recomputes probabilities and tangents of scores.
            mean.fill(0.0);
            seen.fill(0.0);
            for j in 0..n {
                let (k, v, at) = (&k[j * w..][..w], &v[j * w..][..w], (i * n + j) * w);
                let (mul, add) = (&mul[at..][..w], &add[at..][..w]);
                let (p, slopes) = (&mut p[j * w..][..w], &mut slopes[j * w..][..w]);
                if there(j) {
                    for c in 0..w {
                        p[c] = exp(q[c] * k[c] * (1.0 + mul[c]) + add[c] - logs[c]);
                        seen[c] += p[c] * v[c];
                    }
                } else {
                    p.fill(0.0);
                }
                if dual {
                    let (dq, dk) = (&dq[i * w..][..w], &dk[j * w..][..w]);
                    let (dmul, dadd) = (&dmul[at..][..w], &dadd[at..][..w]);
                    for c in 0..w {
                        let slope = (dq[c] * k[c] + q[c] * dk[c]) * (1.0 + mul[c]);
                        slopes[c] = slope + q[c] * k[c] * dmul[c] + dadd[c];
                        mean[c] += p[c] * slopes[c];
                    }
                }
            }
            through.fill(0.0);
            for j in 0..n {
                let (v, rows) = (&v[j * w..][..w], j * w);
                let (p, a, gv) = (&p[rows..][..w], &mut a[rows..][..w], &mut gv[rows..][..w]);
                if dual {
                    let (slopes, dv, gdv) = (&slopes[rows..][..w], &dv[rows..][..w], &mut gdv[rows..][..w]);
                    for c in 0..w {
                        let off = slopes[c] - mean[c];
                        a[c] = g[c] * v[c] + h[c] * (off * v[c] - slopes[c] * seen[c] + dv[c]);
                        through[c] += p[c] * a[c];
                        gv[c] += p[c] * (g[c] + off * h[c]);
                        gdv[c] += p[c] * h[c];
                    }
                } else {
                    for c in 0..w {
                        a[c] = g[c] * v[c];
                        through[c] += p[c] * a[c];
                        gv[c] += p[c] * g[c];
                    }
                }
            }
            for j in 0..n {
                let (at, rows) = ((i * n + j) * w, j * w);
                let (p, a, v) = (&p[rows..][..w], &a[rows..][..w], &v[rows..][..w]);
                let gs = gs.get(at..at + w).unwrap_or(zeros);
                for c in 0..w {
                    big_g[c] = gs[c] + p[c] * (a[c] - through[c]);
                }
                let (k, mul) = (&k[rows..][..w], &mul[at..][..w]);
                let (gq, gk) = (&mut gq[i * w..][..w], &mut gk[rows..][..w]);
                let (gmul, gadd) = (&mut gmul[at..][..w], &mut gadd[at..][..w]);
                for c in 0..w {
                    let scaled = big_g[c] * (1.0 + mul[c]);
                    gq[c] += scaled * k[c];
                    gk[c] += scaled * q[c];
                    gmul[c] = big_g[c] * q[c] * k[c];
                    gadd[c] = big_g[c];
                }
                if !dual {
                    continue;
                }
                let hs = hs.get(at..at + w).unwrap_or(zeros);
                for c in 0..w {
                    big_h[c] = hs[c] + h[c] * p[c] * (v[c] - seen[c]);
                }
                let (dq, dk, dmul) = (&dq[i * w..][..w], &dk[rows..][..w], &dmul[at..][..w]);
                let (gdq, gdk) = (&mut gdq[i * w..][..w], &mut gdk[rows..][..w]);
                let (gdmul, gdadd) = (&mut gdmul[at..][..w], &mut gdadd[at..][..w]);
                for c in 0..w {
                    let (big_h, scaled) = (big_h[c], big_h[c] * (1.0 + mul[c]));
                    gq[c] += scaled * dk[c] + big_h * k[c] * dmul[c];
                    gk[c] += scaled * dq[c] + big_h * q[c] * dmul[c];
                    gmul[c] += big_h * (dq[c] * k[c] + q[c] * dk[c]);
                    gdq[c] += scaled * k[c];
                    gdk[c] += scaled * q[c];
                    gdmul[c] = big_h * q[c] * k[c];
                    gdadd[c] = big_h;
                }
            }
        }
    }
}
