//! Linear maps and rearrangements: how they start, and their values against formulas.

use burn::tensor::Tensor;
use pushforward::bijector::{Affine, Bijector, Flow, Haar, LinearStart, LuLinear, Orthogonal, Transform, multi_scale};
use pushforward::tensor::to_host;

use super::{init, one};
use crate::laws::dual::randomise;
use crate::support::{close, device, numbers, tolerance, tracked};

#[test]
fn linear_maps_start_where_they_should() {
    let device = device();
    let eye = |n: usize| -> Vec<f64> { (0..n * n).map(|i| f64::from(u8::from(i / n == i % n))).collect() };
    for n in [1, 2, 7] {
        let basis = || Tensor::<2>::eye(n, &device);
        let rotation = LuLinear::init(n, LinearStart::Rotation, &device, &mut init());
        let (w, ladj) = rotation.forward_and_ladj(basis());
        close("W W^T", &to_host(&w.clone().matmul(w.clone().transpose())), &eye(n), 1e-5);
        assert!(to_host(&ladj).iter().all(|l| l.abs() < 1e-5), "{ladj}");
        if n > 1 {
            assert!(to_host(&w).iter().zip(eye(n)).any(|(w, e)| (w - e).abs() > 0.1), "{w}");
        }
        let identity = LuLinear::init(n, LinearStart::Identity, &device, &mut init());
        assert_eq!(to_host(&identity.forward_and_ladj(basis()).0), eye(n));
        let identity = Orthogonal::init(n, 4, LinearStart::Identity, &device, &mut init());
        close("reflections", &to_host(&identity.forward_and_ladj(basis()).0), &eye(n), 1e-5);
    }
}

#[test]
fn reflections_are_applied_in_turn() {
    let (d, k) = (4, 3);
    let map = randomise(Orthogonal::init(d, k, LinearStart::Rotation, &device().autodiff(), &mut init()));
    let (vectors, x) = (to_host(&map.vectors.val()), numbers(d, 19));
    let mut wanted = x.clone();
    for v in vectors.chunks(d).rev() {
        let (along, square) =
            (v.iter().zip(&wanted).map(|(v, x)| v * x).sum::<f64>(), v.iter().map(|v| v * v).sum::<f64>());
        wanted.iter_mut().zip(v).for_each(|(x, v)| *x -= 2.0 * along / square * v);
    }
    close("H_1 H_2 H_3 x", &to_host(&map.forward_and_ladj(tracked(&x, [1, d])).0), &wanted, tolerance(1e-12));
}

#[test]
fn haar_separates_means_from_differences() {
    let (channels, height, width) = (2, 4, 6);
    let haar = Haar::new([channels, height, width], &device());
    let x = numbers(channels * height * width, 20);
    let z = to_host(&haar.forward_and_ladj(tracked(&x, [1, x.len()])).0);
    let quarter = x.len() / 4;
    for c in 0..channels {
        for (i, j) in (0..height / 2).flat_map(|i| (0..width / 2).map(move |j| (i, j))) {
            let p = |down: usize, right: usize| x[(c * height + 2 * i + down) * width + 2 * j + right];
            let (a, b, d, e) = (p(0, 0), p(0, 1), p(1, 0), p(1, 1));
            let at = (c * height / 2 + i) * width / 2 + j;
            let wanted = [a + b + d + e, a - b + d - e, a + b - d - e, a - b - d + e].map(|v| v / 2.0);
            let found = [0, 1, 2, 3].map(|band| z[band * quarter + at]);
            close("bands", &found, &wanted, tolerance(1e-12));
        }
    }
}

#[test]
fn every_scale_maps_what_is_left() {
    let mut shapes = Vec::new();
    let device = device();
    multi_scale([3, 8, 4], 2, &device, &mut |shape| {
        shapes.push(shape);
        Flow::default()
    });
    assert_eq!(shapes, [[12, 4, 2], [24, 2, 1]]);
    // A shift on the second level moves the first half of the features and no other.
    let mut level = 0;
    let flow = multi_scale([1, 4, 4], 2, &device, &mut |_| {
        level += 1;
        let shift = if level == 2 { 1.0 } else { 0.0 };
        one(Transform::Affine(Affine::new(1.0, shift)))
    });
    let z = to_host(&flow.forward_and_ladj(Tensor::zeros([1, 16], &device)).0);
    assert_eq!(z, [[1.0; 8], [0.0; 8]].concat());
}
