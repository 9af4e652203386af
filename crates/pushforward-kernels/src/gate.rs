//! Gated residual branches.
//!
//! ```text
//! y = x + gate h        dy = dx + gate dh + dgate h
//! gh = gate gy + dgate gdy      gdh = gate gdy      ggate = sum(gy h + gdy dh)      gdgate = sum(gdy h)
//! ```
//!
//! `d` is the tangent, `g` the gradient, and sums run over the positions of a batch entry. `x` may be a single row that
//! is broadcast over the positions; its gradient is then a sum, too.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn_flex::FlexTensor;

use super::buffer::{Slot, pieces, pieces_mut, run, slots, written};
use super::graph::{Maybe, maybe, operation};
use super::linear::add_rows;
use super::simd::simd;
use super::{ValueTangent, first_two, optional, pair, slice, tensor};

/// Gated residual branch, `x + gate h`.
///
/// # Shapes
/// - `h`, output: `[batch, positions, features]`
/// - `x`: the same or `[batch, 1, features]`
/// - `gate`: `[batch, 1, features]`
///
/// # Panics
/// If the tensors are not [served](super::serve), or shapes differ.
///
/// # Examples
/// A closed gate leaves the residual as it is.
/// ```
/// use burn::tensor::{Device, Tensor};
/// use pushforward_kernels::gated;
///
/// let device = Device::flex();
/// let x = Tensor::<3>::from_floats([[[1.0, 2.0]]], &device);
/// let (y, _) = gated((x, None), (Tensor::ones([1, 1, 2], &device), None), (Tensor::zeros([1, 1, 2], &device), None));
/// assert_eq!(y.into_data().iter::<f32>().collect::<Vec<_>>(), [1.0, 2.0]);
/// ```
pub fn gated((x, dx): ValueTangent<3>, (h, dh): ValueTangent<3>, (gate, dgate): ValueTangent<3>) -> ValueTangent<3> {
    let ([b, n, d], base, gates) = (h.dims(), x.dims(), gate.dims());
    assert!(base == [b, n, d] || base == [b, 1, d], "a branch of {:?} is added to {base:?}", [b, n, d]);
    assert_eq!(gates, [b, 1, d], "a gate has one row per batch entry of [{b}, {n}, {d}], found {gates:?}");
    pair(Dispatch::gated_sum(
        x.into_dispatch(),
        h.into_dispatch(),
        gate.into_dispatch(),
        maybe(dx),
        maybe(dh),
        maybe(dgate),
    ))
}

/// Gated sums as operations of a backend.
#[backend_extension(Flex, Autodiff)]
pub(super) trait GateOps: Backend {
    /// See [`gated`].
    fn gated_sum(
        x: FloatTensor<Self>,
        h: FloatTensor<Self>,
        gate: FloatTensor<Self>,
        #[extension_type] dx: Maybe<Self>,
        #[extension_type] dh: Maybe<Self>,
        #[extension_type] dgate: Maybe<Self>,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>);
}

impl GateOps for Flex {
    fn gated_sum(
        x: FlexTensor,
        h: FlexTensor,
        gate: FlexTensor,
        dx: Maybe<Self>,
        dh: Maybe<Self>,
        dgate: Maybe<Self>,
    ) -> (FlexTensor, Option<FlexTensor>) {
        let [dx, dh, dgate] = [dx, dh, dgate].map(Maybe::into_option);
        let inputs = [Some(x), Some(h), Some(gate), dx, dh, dgate];
        first_two(forward(inputs.map(|x| x.map(super::contiguous))).0)
    }
}

impl<C: CheckpointStrategy> GateOps for Autodiff<Flex, C> {
    fn gated_sum(
        x: FloatTensor<Self>,
        h: FloatTensor<Self>,
        gate: FloatTensor<Self>,
        dx: Maybe<Self>,
        dh: Maybe<Self>,
        dgate: Maybe<Self>,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>) {
        let [dx, dh, dgate] = [dx, dh, dgate].map(Maybe::into_option);
        let inputs = [Some(x), Some(h), Some(gate), dx, dh, dgate];
        first_two(operation::<C, _, 6>(inputs, |inputs, _| forward(inputs), backward))
    }
}

#[derive(Clone, Debug)]
struct Kept {
    /// Whether `x` is a single row that is broadcast over the positions.
    shared: bool,
    h: FlexTensor,
    gate: FlexTensor,
    dh: Option<FlexTensor>,
    dgate: Option<FlexTensor>,
}

fn forward([x, h, gate, dx, dh, dgate]: [Option<FlexTensor>; 6]) -> (Vec<FlexTensor>, Kept) {
    let [x, h, gate] = [x, h, gate].map(|x| x.expect("a value"));
    let dual = dx.is_some() || dh.is_some() || dgate.is_some();
    let or_zeros = |x: Option<FlexTensor>, like: &FlexTensor| {
        dual.then(|| x.unwrap_or_else(|| tensor(vec![0.0; like.shape().num_elements()], like.shape())))
    };
    let (dx, dh, dgate) = (or_zeros(dx, &x), or_zeros(dh, &h), or_zeros(dgate, &gate));
    let (n, d) = (h.shape().num_elements(), h.shape()[2]);
    let (base, entry) = (x.shape()[1] * d, h.shape()[1] * d);
    let (mut y, mut dy) = (slots(n), slots(if dual { n } else { 0 }));
    let jobs = (pieces(slice(&x), base).zip(pieces(slice(&h), entry)).zip(pieces(slice(&gate), d)))
        .zip(pieces(optional(&dx), base).zip(pieces(optional(&dh), entry)).zip(pieces(optional(&dgate), d)))
        .zip(pieces_mut(&mut y, entry).zip(pieces_mut(&mut dy, entry)))
        .take(h.shape()[0]);
    run(n / 2, jobs, |((((x, h), gate), ((dx, dh), dgate)), (y, dy))| {
        value_rows(x, h, gate, y);
        if !dy.is_empty() {
            tangent_rows(dx, [h, dh], [gate, dgate], dy);
        }
    });
    // SAFETY: a job for every batch entry writes all of it.
    let done = |buffer: Vec<Slot>| tensor(unsafe { written(buffer) }, h.shape());
    let outputs = std::iter::once(done(y)).chain(dual.then(|| done(dy))).collect();
    (outputs, Kept { shared: base != entry, h, gate, dh, dgate })
}

fn backward(kept: Kept, gradients: Vec<Option<FlexTensor>>, wanted: [bool; 6]) -> [Option<FlexTensor>; 6] {
    let Kept { shared, h, gate, dh, dgate } = kept;
    let mut gradients = gradients.into_iter();
    let (gy, gdy) = (gradients.next().flatten(), gradients.next().flatten());
    let (n, d) = (h.shape().num_elements(), h.shape()[2]);
    let entry = h.shape()[1] * d;
    let dual = gdy.is_some();
    let gy_or_zeros = gy.clone().unwrap_or_else(|| tensor(vec![0.0; n], h.shape()));
    let (mut gh, mut gdh) = (slots(n), slots(if dual { n } else { 0 }));
    let gates = gate.shape().num_elements();
    let (mut ggate, mut gdgate) = (vec![0.0; gates], vec![0.0; if dual { gates } else { 0 }]);
    let jobs = (pieces(slice(&gy_or_zeros), entry).zip(pieces(optional(&gdy), entry)))
        .zip(pieces(slice(&h), entry).zip(pieces(optional(&dh), entry)))
        .zip(pieces(slice(&gate), d).zip(pieces(optional(&dgate), d)))
        .zip(pieces_mut(&mut gh, entry).zip(pieces_mut(&mut gdh, entry)))
        .zip(pieces_mut(&mut ggate, d).zip(pieces_mut(&mut gdgate, d)))
        .take(h.shape()[0]);
    run(n, jobs, |(((((gy, gdy), (h, dh)), (gate, dgate)), (gh, gdh)), (ggate, gdgate))| {
        if gdy.is_empty() {
            value_gradients(gy, h, gate, gh, ggate);
        } else {
            dual_gradients([gy, gdy], [h, dh], [gate, dgate], gh, gdh, ggate, gdgate);
        }
    });
    // SAFETY: a job for every batch entry writes all of it.
    let done = |buffer: Vec<Slot>| tensor(unsafe { written(buffer) }, h.shape());
    let gdh = (dual && wanted[4]).then(|| done(gdh));
    let gdgate = (dual && wanted[5]).then(|| tensor(gdgate, gate.shape()));
    let (gh, ggate) = (wanted[1].then(|| done(gh)), wanted[2].then(|| tensor(ggate, gate.shape())));
    let base = |g: Option<FlexTensor>| match g {
        Some(g) if shared => {
            let mut sums = vec![0.0; gates];
            let entries = slice(&g).chunks(entry.max(1)).zip(sums.chunks_mut(d.max(1)));
            entries.for_each(|(rows, sum)| add_rows(rows, sum));
            Some(tensor(sums, gate.shape()))
        }
        other => other,
    };
    [base(gy), gh, ggate, base(gdy), gdh, gdgate]
}

simd! {
    fn value_rows(x: &[f32], h: &[f32], gate: &[f32], y: &mut [Slot]) {
        let d = gate.len();
        for ((x, h), y) in x.chunks_exact(d).cycle().zip(h.chunks_exact(d)).zip(y.chunks_exact_mut(d)) {
            for i in 0..d {
                y[i].write(x[i] + gate[i] * h[i]);
            }
        }
    }
}
simd! {
    fn tangent_rows(dx: &[f32], hs: [&[f32]; 2], gates: [&[f32]; 2], dy: &mut [Slot]) {
        let d = gates[0].len();
        let [gate, dgate] = gates.map(|x| &x[..d]);
        for ((dx, (h, dh)), dy) in
            dx.chunks_exact(d).cycle().zip(hs[0].chunks_exact(d).zip(hs[1].chunks_exact(d))).zip(dy.chunks_exact_mut(d))
        {
            for i in 0..d {
                dy[i].write(dx[i] + gate[i] * dh[i] + dgate[i] * h[i]);
            }
        }
    }
}
simd! {
    fn value_gradients(gy: &[f32], h: &[f32], gate: &[f32], gh: &mut [Slot], ggate: &mut [f32]) {
        let d = gate.len();
        let ggate = &mut ggate[..d];
        for ((gy, h), gh) in gy.chunks_exact(d).zip(h.chunks_exact(d)).zip(gh.chunks_exact_mut(d)) {
            for i in 0..d {
                gh[i].write(gate[i] * gy[i]);
                ggate[i] += gy[i] * h[i];
            }
        }
    }
}
simd! {
    fn dual_gradients(
        gs: [&[f32]; 2], hs: [&[f32]; 2], gates: [&[f32]; 2], gh: &mut [Slot], gdh: &mut [Slot], ggate: &mut [f32],
        gdgate: &mut [f32],
    ) {
        let d = gates[0].len();
        let [gate, dgate] = gates.map(|x| &x[..d]);
        let (ggate, gdgate) = (&mut ggate[..d], &mut gdgate[..d]);
        let rows = (gs[0].chunks_exact(d).zip(gs[1].chunks_exact(d))).zip(hs[0].chunks_exact(d).zip(hs[1].chunks_exact(d)));
        for (((gy, gdy), (h, dh)), (gh, gdh)) in rows.zip(gh.chunks_exact_mut(d).zip(gdh.chunks_exact_mut(d))) {
            for i in 0..d {
                gh[i].write(gate[i] * gy[i] + dgate[i] * gdy[i]);
                gdh[i].write(gate[i] * gdy[i]);
                ggate[i] += gy[i] * h[i] + gdy[i] * dh[i];
                gdgate[i] += gdy[i] * h[i];
            }
        }
    }
}
