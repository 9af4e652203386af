//! Times of jumps that a model keeps.

use burn::module::Module as _;
use burn::tensor::DType;
use pushforward::data::{Layout, Schema};
use pushforward::flow_map::config::FlowMapConfig;
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::sample::{SampleRequest, Sampler};
use pushforward::flow_map::time::TimeGrid;
use pushforward::nn::SiteShape;
use pushforward::rng::{Purpose, stream};
use pushforward::run::{RequestError, TrainedFlowMap};
use pushforward::tensor::cast_module;

use super::dual::randomise;
use crate::support::device;

fn model() -> TrainedFlowMap {
    let text = "network = { kind = 'mlp', width = 16 }";
    let config: FlowMapConfig<NetworkConfig> = toml::from_str(text).expect("a configuration");
    let (sites, device) = (SiteShape::line(6, 4), device());
    let net = config.model(None).init(sites, &device.clone().autodiff(), &mut stream(0, Purpose::Init, 0));
    let net = cast_module(randomise(net), DType::F32).valid();
    TrainedFlowMap::new(config, net, Schema { sites: 6, classes: 4, layout: Layout::Table }, &device)
}

#[test]
fn kept_times_replace_equal_steps_of_the_map_alone() -> Result<(), RequestError> {
    let mut model = model();
    let grid = TimeGrid::new(vec![0.0, 0.83, 1.0]).expect("rising times");
    let points = |model: &TrainedFlowMap, request: &SampleRequest| {
        model.sample(request, &mut |_| true).map(|samples| samples.endpoints)
    };
    let plain = SampleRequest::map(20, 2, 1);
    let named = SampleRequest { grid: grid.clone(), kept: false, ..plain.clone() };
    let (equal, wanted) = (points(&model, &plain)?, points(&model, &named)?);
    model.grids.keep(grid.clone());
    assert_eq!(points(&model, &plain)?, wanted);
    assert_ne!(wanted, equal);
    assert_eq!(points(&model, &SampleRequest { kept: false, ..plain.clone() })?, equal);
    let checked = |request: &SampleRequest| model.checked(request).map(|checked| checked.grid);
    assert_eq!(checked(&plain)?, grid);
    for other in [
        SampleRequest { sampler: Sampler::Euler, ..plain.clone() },
        SampleRequest { sampler: Sampler::RENOISE, ..plain },
    ] {
        assert_eq!(checked(&other)?, TimeGrid::uniform(2));
    }
    assert_eq!(checked(&SampleRequest::map(20, 3, 1))?, TimeGrid::uniform(3));
    Ok(())
}

#[test]
fn fitted_times_bring_more_sites_to_where_the_equation_does() -> Result<(), RequestError> {
    let mut model = model();
    let fitted = model.fit_grids(&[2, 3], 200, 5, &mut |_| true)?;
    let ids = |sampler, grid: TimeGrid| {
        let plain = SampleRequest { sampler, grid, kept: false, ..SampleRequest::map(200, 1, 5) };
        model.sample(&plain, &mut |_| true).map(|samples| samples.ids)
    };
    let along = ids(Sampler::Heun, TimeGrid::uniform(32))?;
    for one in fitted {
        let steps = one.grid.steps();
        let share = |grid: TimeGrid| -> Result<f64, RequestError> {
            let found = ids(Sampler::Map, grid)?;
            Ok(found.iter().zip(&along).filter(|(a, b)| a == b).count() as f64 / along.len() as f64)
        };
        assert!((share(TimeGrid::uniform(steps))? - one.equal).abs() < 1e-12);
        assert!((share(one.grid.clone())? - one.fitted).abs() < 1e-12);
        assert!(one.fitted > one.equal, "a random network is no map, so that times matter: {one:?}");
        assert_eq!(model.grids.of(steps), Some(one.grid));
    }
    // A search that is stopped keeps nothing.
    let mut stopped = self::model();
    assert!(stopped.fit_grids(&[2], 50, 5, &mut |spent| spent < 70)?.is_empty());
    assert_eq!(stopped.grids.of(2), None);
    Ok(())
}
