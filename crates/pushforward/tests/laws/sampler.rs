//! Network evaluations, random streams and the last step of every sampler.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use burn::module::Module;
use burn::tensor::{DType, s};
use pushforward::dual::Dual;
use pushforward::flow_map::backbone::EndpointNet;
use pushforward::flow_map::backbone::Parametrisation;
use pushforward::flow_map::conditioning::Conditioning;
use pushforward::flow_map::config::{FlowMapConfig, ObjectiveConfig, OffDiagonal};
use pushforward::flow_map::model::{FlowMapModelConfig, Skip};
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::sample::{Generator, LastStep, SampleRequest, Sampler, Samples, sample};
use pushforward::flow_map::time::TimeGrid;
use pushforward::nn::dit::DitConfig;
use pushforward::nn::time_embedding::TimeFeatures;
use pushforward::nn::{Pass, SiteShape};
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{cast_module, to_host};

use super::dual::randomise;
use crate::support::device;

const SITES: SiteShape = SiteShape::line(5, 4);
const SAMPLERS: [Sampler; 6] =
    [Sampler::Map, Sampler::Euler, Sampler::Heun, Sampler::RENOISE, HALF_FRESH, Sampler::Dopri5 { tolerance: 1e-5 }];
const HALF_FRESH: Sampler = Sampler::Renoise { gamma: 0.5 };

pub(crate) fn config(off_diagonal: OffDiagonal) -> FlowMapConfig {
    FlowMapConfig::new(network(), ObjectiveConfig { off_diagonal, ..ObjectiveConfig::default() })
}

fn network() -> NetworkConfig {
    let time = TimeFeatures::Fourier;
    NetworkConfig::Dit(DitConfig {
        width: 16,
        blocks: 1,
        heads: 2,
        cond: 8,
        time,
        time_width: 8,
        ..DitConfig::default()
    })
}

/// A random transformer that counts how often it is called. Samples are float32, the precision of their noise.
struct Counting<N> {
    net: N,
    calls: AtomicU64,
}

fn random() -> Counting<impl EndpointNet> {
    let config = FlowMapModelConfig {
        network: network(),
        skip: Skip::Evidence { cap: 16.0 },
        parametrisation: Parametrisation::Endpoint,
        learned_weight: false,
        labels: None,
        smoothing: 0.0,
        observed_length: 1.0,
    };
    let model = randomise(config.init(SITES, &device().autodiff(), &mut stream(0, Purpose::Init, 0)));
    Counting { net: cast_module(model.valid(), DType::F32), calls: AtomicU64::new(0) }
}

impl<N: EndpointNet> EndpointNet for Counting<N> {
    fn logits(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, conditioning: &Conditioning, pass: &mut Pass<'_>) -> Dual<3> {
        self.calls.fetch_add(1, Relaxed);
        self.net.logits(x, s, t, conditioning, pass)
    }
}

/// The unconstrained baseline with zero velocity: its samples are its noise.
struct Still;

impl EndpointNet for Still {
    fn logits(&self, x: Dual<3>, _: Dual<1>, _: Dual<1>, _: &Conditioning, _: &mut Pass<'_>) -> Dual<3> {
        x.value.zeros_like().into()
    }

    fn parametrisation(&self) -> Parametrisation {
        Parametrisation::Velocity
    }
}

fn request(sampler: Sampler, nfe: usize) -> SampleRequest {
    let grid = sampler.grid(nfe).expect("the method can spend that many");
    SampleRequest { sampler, grid, ..SampleRequest::map(7, 1, 11) }
}

fn run(net: &impl EndpointNet, request: &SampleRequest) -> Samples {
    sample(
        &Generator::new(net, SITES, &device()).with_noise(config(OffDiagonal::default()).noise()),
        request,
        &mut |_| true,
    )
}

#[track_caller]
fn same(what: &str, a: &[f32], b: &[f32], tolerance: f32) {
    assert_eq!(a.len(), b.len(), "{what}");
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(a.iter().chain(b).all(|v| v.is_finite()) && worst <= tolerance, "{what}: off by {worst}");
}

#[test]
fn samples_do_not_depend_on_the_number_of_threads() {
    let net = random();
    for sampler in SAMPLERS {
        // Enough items for a share for each of three threads, and of unequal lengths.
        let asked = SampleRequest { count: 130, batch: 110, endpoints: true, ..request(sampler, 3) };
        let by = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| run(&net, &asked))
        };
        let (one, three) = (by(1), by(3));
        assert_eq!((one.ids.len(), &one.ids, &one.nfe), (130 * SITES.count, &three.ids, &three.nfe), "{sampler:?}");
        assert!(one.endpoints.iter().zip(&three.endpoints).all(|(a, b)| (a - b).abs() < 1e-5), "{sampler:?}");
    }
}

#[test]
fn evaluations_are_counted_as_they_are_spent() {
    for sampler in SAMPLERS {
        for nfe in [1, 3, 9] {
            let net = random();
            let samples = run(&net, &SampleRequest { batch: 3, ..request(sampler, nfe) });
            assert_eq!(samples.nfe.len(), 7);
            if let Sampler::Dopri5 { .. } = sampler {
                // Every item has its own count; for a single item, it is the number of calls.
                for (i, &counted) in samples.nfe.iter().enumerate() {
                    let net = random();
                    let one = SampleRequest { count: 1, first: i as u64, ..request(sampler, nfe) };
                    assert_eq!(run(&net, &one).nfe, [net.calls.load(Relaxed)], "{sampler:?}, item {i}");
                    // In float32, an error estimate close to the tolerance may cost one more trial step in another
                    // batch.
                    assert!(counted.abs_diff(net.calls.load(Relaxed)) <= 6 && counted >= 8, "{sampler:?}: {counted}");
                }
                assert!(samples.nfe.iter().any(|n| *n != samples.nfe[0]), "step sizes are the items' own");
            } else {
                assert_eq!(samples.nfe, [nfe as u64; 7], "{sampler:?}");
                assert_eq!(net.calls.load(Relaxed), 3 * nfe as u64, "{sampler:?}: three batches");
                assert_eq!(samples.mean_nfe(), nfe as f64);
            }
        }
    }
}

#[test]
fn heun_spends_an_odd_number() {
    for nfe in [2, 4, 10] {
        let message = Sampler::Heun.grid(nfe).unwrap_err().to_string();
        assert!(message.contains("odd") && message.ends_with(&format!("found {nfe}")), "{message}");
    }
    assert_eq!(Sampler::Heun.grid(9).map(|g| g.steps()), Ok(5));
    assert!(SAMPLERS.iter().all(|s| s.grid(0).is_err()));
    assert!(TimeGrid::new(vec![0.0, 0.5]).is_err());
}

#[test]
fn an_item_is_the_same_in_every_batch() {
    for sampler in SAMPLERS {
        for last in [LastStep::Argmax, LastStep::Draw] {
            let net = random();
            let whole = run(&net, &SampleRequest { last, ..request(sampler, 5) });
            let per_item = SITES.count * SITES.classes;
            for batch in [1, 3] {
                let other = run(&net, &SampleRequest { batch, last, ..request(sampler, 5) });
                same(&format!("{sampler:?}, batch {batch}"), &other.endpoints, &whole.endpoints, 2e-4);
                let differ = other.ids.iter().zip(&whole.ids).filter(|(a, b)| a != b).count();
                assert!(differ <= 1, "{sampler:?}, {last:?}, batch {batch}: {differ} of {} ids", whole.ids.len());
            }
            let tail = run(&net, &SampleRequest { first: 4, count: 3, batch: 2, last, ..request(sampler, 5) });
            same(&format!("{sampler:?}, from 4"), &tail.endpoints, &whole.endpoints[4 * per_item..], 2e-4);
            assert_ne!(whole.endpoints[..per_item], whole.endpoints[per_item..2 * per_item], "items differ");
        }
    }
}

#[test]
fn noise_is_addressed_by_item_alone() {
    for sampler in SAMPLERS {
        let draw = |batch, first, count| {
            let request = SampleRequest { batch, first, count, ..request(sampler, 3) };
            sample(&Generator::new(&Still, SITES, &device()), &request, &mut |_| true).endpoints
        };
        let whole = draw(7, 0, 7);
        let per_item = SITES.count * SITES.classes;
        for batch in [1, 3] {
            assert_eq!(draw(batch, 0, 7), whole, "{sampler:?}: exact, since nothing is summed over the batch");
        }
        assert_eq!(draw(2, 5, 2), whole[5 * per_item..]);
        if sampler == Sampler::Map {
            let noise: Vec<f32> = (0..7).flat_map(|i| stream(11, Purpose::Sample, i).normals(per_item)).collect();
            same("the stream of the item", &whole, &noise, 1e-6);
            // Renoised once, half way: with zero velocity, the end is half the old noise and half the fresh one.
            let fresh = (0..7).flat_map(|i| stream(11, Purpose::Renoise, i).normals(per_item));
            let wanted: Vec<f32> = noise.iter().zip(fresh).map(|(a, b)| 0.5 * (a + b)).collect();
            let request = request(Sampler::RENOISE, 2);
            let found = sample(&Generator::new(&Still, SITES, &device()), &request, &mut |_| true);
            same("fresh noise", &found.endpoints, &wanted, 1e-6);
            // By a jump of zero velocity, a point at time 0 is one of any time u; then t / u of it and gamma (1 - t) of fresh noise.
            let fresh: Vec<f32> = (0..7).flat_map(|i| stream(11, Purpose::Renoise, i).normals(per_item)).collect();
            for gamma in [0.0f32, 0.6, 0.8] {
                let u = 0.5 / (0.5 + (1.0 - gamma * gamma).sqrt() * 0.5);
                let wanted: Vec<f32> = noise.iter().zip(&fresh).map(|(a, b)| 0.5 / u * a + gamma * 0.5 * b).collect();
                let request = self::request(Sampler::Renoise { gamma: gamma.into() }, 2);
                let found = sample(&Generator::new(&Still, SITES, &device()), &request, &mut |_| true);
                same(&format!("gamma of {gamma}"), &found.endpoints, &wanted, 1e-6);
            }
        }
    }
}

/// A map whose endpoint is known for all data at one class: every point of it is `(1 - t) noise + t data`.
struct Known;

impl EndpointNet for Known {
    fn logits(&self, x: Dual<3>, _: Dual<1>, _: Dual<1>, _: &Conditioning, _: &mut Pass<'_>) -> Dual<3> {
        let first = x.value.zeros_like().slice_fill(s![.., .., 0..1], 60.0);
        first.into()
    }
}

#[test]
fn partly_fresh_noise_has_the_deviation_of_its_time() {
    for gamma in [0.0, 0.3, 0.7, 1.0] {
        let grid = TimeGrid::new(vec![0.0, 0.4, 1.0]).expect("a grid");
        let sampler = Sampler::Renoise { gamma };
        let request = SampleRequest { sampler, grid, ..SampleRequest::map(4000, 1, 3) };
        // What the second evaluation is given, at time 0.4.
        let seen = std::sync::Mutex::new(Vec::new());
        let watched = Watched { net: Known, seen: &seen };
        sample(&Generator::new(&watched, SITES, &device()), &request, &mut |_| true);
        let points: Vec<f64> = seen.into_inner().expect("no thread failed").into_iter().flatten().collect();
        let mean = points.iter().sum::<f64>() / points.len() as f64;
        let deviation = (points.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / points.len() as f64).sqrt();
        assert!((mean - 0.4).abs() < 0.02 && (deviation - 0.6).abs() < 0.02, "{gamma}: {mean} and {deviation}");
    }
}

/// Keeps the first class of all points that it is given after time 0.
struct Watched<'a, N> {
    net: N,
    seen: &'a std::sync::Mutex<Vec<Vec<f64>>>,
}

impl<N: EndpointNet> EndpointNet for Watched<'_, N> {
    fn logits(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, conditioning: &Conditioning, pass: &mut Pass<'_>) -> Dual<3> {
        if to_host(&s.value)[0] > 0.0 {
            let first = x.value.clone().slice(s![.., .., 0..1]);
            self.seen.lock().expect("no thread failed").push(to_host(&first));
        }
        self.net.logits(x, s, t, conditioning, pass)
    }
}

#[test]
fn draws_repeat_and_follow_the_endpoint() {
    // With one step the endpoint is softmax of the evidence-free network at the noise: not degenerate.
    let net = random();
    let with =
        |seed, count| run(&net, &SampleRequest { last: LastStep::Draw, seed, count, ..request(Sampler::Map, 1) });
    assert_eq!(with(1, 20).ids, with(1, 20).ids);
    assert_ne!(with(1, 20).ids, with(2, 20).ids);
    let (n, mut hits, mut wanted) = (3000, [0.0; 4], [0.0; 4]);
    let drawn = with(3, n);
    for (row, &id) in drawn.endpoints.chunks(SITES.classes).zip(&drawn.ids) {
        hits[id as usize] += 1.0;
        row.iter().zip(&mut wanted).for_each(|(p, w)| *w += f64::from(*p));
    }
    for k in 0..SITES.classes {
        let error = (wanted[k] * (1.0 - wanted[k] / (n * SITES.count) as f64)).sqrt();
        assert!((hits[k] - wanted[k]).abs() < 4.0 * error, "class {k}: {} of {} expected", hits[k], wanted[k]);
    }
    let argmax = run(&net, &SampleRequest { seed: 3, count: n, ..request(Sampler::Map, 1) });
    assert_ne!(argmax.ids, drawn.ids);
    for (row, &id) in argmax.endpoints.chunks(SITES.classes).zip(&argmax.ids) {
        assert!(row.iter().all(|p| *p <= row[id as usize]));
    }
}

#[test]
fn lower_temperature_sharpens_endpoints() {
    let entropy = |net: &Counting<_>, sampler, temperature| {
        let samples = run(net, &SampleRequest { temperature, count: 40, ..request(sampler, 3) });
        let terms = samples.endpoints.iter().map(|&p| f64::from(p)).filter(|p| *p > 0.0).map(|p| -p * p.ln());
        terms.sum::<f64>() / (40 * SITES.count) as f64
    };
    let net = random();
    for sampler in SAMPLERS {
        let found = [0.25, 1.0, 4.0].map(|t| entropy(&net, sampler, t));
        assert!(found[0] < found[1] && found[1] < found[2], "{sampler:?}: {found:?}");
        assert!(found[2] < 4f64.ln());
    }
}

#[test]
fn progress_may_stop_the_work() {
    let net = random();
    let mut reported = Vec::new();
    let request = SampleRequest { batch: 3, ..request(Sampler::Map, 1) };
    let config = config(OffDiagonal::default());
    let samples = sample(&Generator::new(&net, SITES, &device()).with_noise(config.noise()), &request, &mut |done| {
        reported.push(done);
        done < 6
    });
    assert_eq!((reported, samples.items().count(), samples.nfe.len()), (vec![3, 6], 6, 6));
}
