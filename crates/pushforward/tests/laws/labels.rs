//! Labels that samples are drawn for where a request names none.

use burn::module::Module as _;
use burn::tensor::DType;
use pushforward::data::{Layout, Schema};
use pushforward::flow_map::config::FlowMapConfig;
use pushforward::flow_map::constraint::Constraint;
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::sample::{LabelChoice, SampleRequest, Sampler};
use pushforward::flow_map::steer::{Method, Reward, RewardError, SmcSettings, SteerRequest};
use pushforward::nn::SiteShape;
use pushforward::rng::{Purpose, stream};
use pushforward::run::{RequestError, Steers as _, TrainedFlowMap};
use pushforward::tensor::cast_module;

use super::dual::randomise;
use crate::support::device;

/// A model of random weights that is told labels of three, or any sites.
fn model(label_counts: &[u64]) -> TrainedFlowMap {
    let text = "network = { kind = 'mlp', width = 16 }\ncondition = { kind = 'observed', labels = true }";
    let config: FlowMapConfig<NetworkConfig> = toml::from_str(text).expect("a configuration");
    let (sites, device) = (SiteShape::line(4, 3), device());
    let net = config.model(Some(3)).init(sites, &device.clone().autodiff(), &mut stream(0, Purpose::Init, 0));
    let net = cast_module(randomise(net), DType::F32).valid();
    let schema = Schema { sites: 4, classes: 3, layout: Layout::Table };
    let mut model = TrainedFlowMap::new(config, net, schema, &device);
    model.label_counts = label_counts.to_vec();
    model
}

fn ids(model: &TrainedFlowMap, request: &SampleRequest) -> Vec<u32> {
    model.sample(request, &mut |_| true).expect("the request fits").ids
}

#[test]
fn a_model_draws_labels_as_often_as_its_data_have_them() -> Result<(), RequestError> {
    let model = model(&[3, 0, 1]);
    let request = SampleRequest { first: 5, ..SampleRequest::map(4000, 1, 2) };
    let checked = model.checked(&request)?;
    assert_eq!(checked.labels, LabelChoice::Drawn(vec![3, 0, 1]));
    let labels = checked.told_labels();
    let share = |label| labels.iter().filter(|&&l| l == label).count() as f64 / 4000.0;
    assert!((share(0) - 0.75).abs() < 0.03 && share(1) == 0.0, "{} {}", share(0), share(1));
    // Items are those of their labels, told one by one, and not those without labels.
    let all = ids(&model, &request);
    for item in [0, 17, 3999] {
        let first = request.first + item as u64;
        let alone = SampleRequest { first, count: 1, labels: vec![labels[item]].into(), ..request.clone() };
        assert_eq!(ids(&model, &alone), all[4 * item..4 * item + 4]);
    }
    let hidden = ids(&model, &SampleRequest { labels: LabelChoice::Hidden, ..request });
    assert!(hidden.iter().zip(&all).filter(|(a, b)| a != b).count() > 100);
    Ok(())
}

#[test]
fn labels_that_might_not_fit_are_hidden() -> Result<(), RequestError> {
    let (model, unknown) = (model(&[3, 0, 1]), model(&[]));
    let plain = SampleRequest::map(3, 1, 0);
    let mut told = plain.clone();
    told.observed = vec![vec![Some(1), None, None, None]];
    let mut fixed = plain.clone();
    fixed.constraint = Some(Constraint::all(SiteShape::line(4, 3)).forbid(2, 0).expect("two classes are left"));
    assert_eq!(model.checked(&told)?.labels, LabelChoice::Hidden);
    assert_eq!(model.checked(&fixed)?.labels, LabelChoice::Hidden);
    assert_eq!(unknown.checked(&plain)?.labels, LabelChoice::Hidden);
    // Those that are asked for stay.
    told.labels = vec![2].into();
    assert_eq!(model.checked(&told)?.labels, LabelChoice::InTurn(vec![2]));
    let no_such = SampleRequest { labels: LabelChoice::Drawn(vec![0, 0, 0, 1]), ..plain };
    let message = model.checked(&no_such).expect_err("there are three labels").to_string();
    assert!(message.contains("0 to 2, found 3"), "{message}");
    Ok(())
}

/// A reward of 1.5 for items whose first site has class 1.
struct First;

impl Reward for First {
    fn score(&self, ids: &[u32]) -> Result<Vec<f64>, RewardError> {
        Ok(ids.chunks(4).map(|item| if item[0] == 1 { 1.5 } else { 0.0 }).collect())
    }
}

/// Each particle has a label of its own, which is resampled with it: steered samples have the law of plain ones times `e^r`.
#[test]
fn steered_samples_draw_labels_too() -> Result<(), Box<dyn std::error::Error>> {
    let model = model(&[2, 1, 1]);
    let smc = SmcSettings { threshold: 1.0, ..SmcSettings::default() };
    for (method, sampler) in [(Method::Resample, Sampler::Map), (Method::Smc(smc), Sampler::RENOISE)] {
        // From another seed than the steered ones.
        let plain = SampleRequest { sampler, kept: false, ..SampleRequest::map(20_000, 2, 9) };
        let with = |ids: &[u32]| ids.chunks(4).filter(|item| item[0] == 1).count() as f64 * 4.0 / ids.len() as f64;
        let p = with(&ids(&model, &plain));
        let expected = p * 1.5f64.exp() / (p * 1.5f64.exp() + 1.0 - p);
        let hidden = with(&ids(&model, &SampleRequest { labels: LabelChoice::Hidden, ..plain }));
        let request =
            SteerRequest { sample: SampleRequest::map(1500, 2, 0), method, particles: 32, keep: 1, part: None };
        let steered = model.steer(&request, &First, &mut |_| true)?;
        let found = with(&steered.samples.ids);
        assert!(
            (found - expected).abs() < 0.05,
            "{method:?}: {found}, not {expected} (plain {p}, without labels {hidden})"
        );
        assert!((p - hidden).abs() > 0.1, "labels matter");
    }
    Ok(())
}
