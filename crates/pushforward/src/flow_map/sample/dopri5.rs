//! The Dormand-Prince 5(4) pair along the flow's velocity, with a separate step size for every item.
//!
//! In `tau = -log(1-t)` the velocity needs no division: `dx/dtau = pi_{t,t}(x) - x`. The integration ends at
//! `t = 1 - 1e-3`, from where a jump goes to the endpoint.
//!
//! Reference: Dormand, Prince 1980, J. Comput. Appl. Math. 6(1); step control as in Hairer, Norsett, Wanner 1993, II.4.

use burn::tensor::Tensor;

use crate::flow_map::backbone::EndpointNet;
use crate::flow_map::map::FlowMap;
use crate::tensor::to_host;
use crate::transport::time::column;

/// `tau` at `t = 1 - 1e-3`.
const END: f64 = 6.907_755_278_982_137;
/// Maximum number of evaluations; an item that reaches it jumps to its endpoint from its current time.
const MOST: u64 = 2000;

const C: [f64; 7] = [0.0, 0.2, 0.3, 0.8, 8.0 / 9.0, 1.0, 1.0];
const A: [&[f64]; 7] = [
    &[],
    &[0.2],
    &[3.0 / 40.0, 9.0 / 40.0],
    &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
    &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
    &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
    &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
];
/// Fifth-order weights minus fourth-order weights.
const E: [f64; 7] =
    [71.0 / 57600.0, 0.0, -71.0 / 16695.0, 71.0 / 1920.0, -17253.0 / 339200.0, 22.0 / 525.0, -1.0 / 40.0];

/// Integrates every item from time 0 to 1. Also returns the number of network evaluations of every item.
pub(in crate::flow_map) fn integrate<N: EndpointNet>(
    map: &FlowMap<'_, N>,
    x: Tensor<3>,
    tolerance: f64,
) -> (Tensor<3>, Vec<u64>) {
    let n = x.dims()[0];
    let slope = |x: &Tensor<3>, tau: &[f64]| {
        let t: Vec<f64> = tau.iter().map(|tau| -(-tau).exp_m1()).collect();
        map.endpoint(x, &t, &t) - x.clone()
    };
    let (mut x, mut tau, mut h) = (x, vec![0.0; n], vec![0.05f64; n]);
    let mut evaluations = vec![1u64; n];
    let mut first = slope(&x, &tau);
    loop {
        let active: Vec<bool> = (0..n).map(|i| tau[i] < END && evaluations[i] < MOST).collect();
        if active.iter().all(|a| !a) {
            break;
        }
        // Finished items take steps of length zero, which do not change them.
        let step: Vec<f64> = (0..n).map(|i| if active[i] { h[i].min(END - tau[i]) } else { 0.0 }).collect();
        let length = column(&step, &x);
        let mut slopes = vec![first.clone()];
        let mut next = x.clone();
        for stage in 1..7 {
            let mut sum = x.zeros_like();
            for (a, k) in A[stage].iter().zip(&slopes) {
                sum = sum + k.clone() * *a;
            }
            next = x.clone() + sum * length.clone();
            let at: Vec<f64> = (0..n).map(|i| tau[i] + C[stage] * step[i]).collect();
            slopes.push(slope(&next, &at));
        }
        let mut error = x.zeros_like();
        for (e, k) in E.iter().zip(&slopes) {
            error = error + k.clone() * *e;
        }
        let error = error * length;
        let error = to_host(&map.conditioning().root_mean_square(error));
        let accepted: Vec<bool> = (0..n).map(|i| error[i] <= tolerance).collect();
        for i in (0..n).filter(|&i| active[i]) {
            evaluations[i] += 6;
            let factor = 0.9 * (tolerance / error[i].max(1e-12)).powf(0.2);
            if accepted[i] {
                tau[i] = if h[i] >= END - tau[i] { END } else { tau[i] + step[i] };
            }
            h[i] = step[i] * factor.clamp(0.2, 5.0);
        }
        let taken = column(&(0..n).map(|i| f64::from(active[i] && accepted[i])).collect::<Vec<_>>(), &x);
        x = x.clone() + (next - x) * taken.clone();
        // First same as last: the slope of the last stage is the first of the next step.
        let last = slopes.pop().expect("seven stages");
        first = first.clone() + (last - first) * taken;
    }
    let t: Vec<f64> = tau.iter().map(|tau| -(-tau).exp_m1()).collect();
    let end = map.endpoint(&x, &t, &t);
    (end, evaluations.into_iter().map(|e| e + 1).collect())
}
