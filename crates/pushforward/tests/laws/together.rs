//! Requests that share batches: each gets the samples that it gets alone.

use burn::module::Module;
use burn::tensor::{DType, Device};
use pushforward::flow_map::model::Skip;
use pushforward::flow_map::sample::{Generator, LastStep, SampleRequest, Sampler, sample, sample_together};
use pushforward::nn::SiteShape;
use pushforward::tensor::cast_module;

use super::distillation::{model, networks};
use super::graph;

fn requests(base: &SampleRequest) -> Vec<SampleRequest> {
    [(0, 0, 3), (0, 2, 4), (9, 100, 1), (1 << 40, 7, 6)]
        .map(|(seed, first, count)| SampleRequest { seed, first, count, ..base.clone() })
        .to_vec()
}

#[test]
fn every_request_gets_its_own_samples() {
    let device = Device::flex();
    let graphs =
        graph::networks().into_iter().map(|(name, network)| (name, network, SiteShape::graph(graph::GRAPH), true));
    let all = networks().into_iter().map(|(name, network, sites)| (name, network, sites, false)).chain(graphs);
    for (name, network, sites, is_graph) in all {
        let net = cast_module(model(&network, sites.clone(), Skip::None, false).valid(), DType::F32);
        let generator = Generator::new(&net, sites.clone(), &device);
        for sampler in [Sampler::Map, Sampler::RENOISE, Sampler::Dopri5 { tolerance: 1e-2 }] {
            let sizes = if is_graph { vec![0, 0, 3, 1] } else { Vec::new() };
            let base = SampleRequest { sampler, batch: 5, last: LastStep::Draw, sizes, ..SampleRequest::map(0, 2, 0) };
            let requests = requests(&base);
            let mut seen = Vec::new();
            let found = sample_together(&generator, &requests, &mut |done| {
                seen.push(done);
                true
            });
            assert_eq!(seen, [5, 10, 14]);
            for (request, found) in requests.iter().zip(&found) {
                let alone = sample(&generator, request, &mut |_| true);
                assert_eq!(found.ids, alone.ids, "{name} {sampler:?}");
                assert_eq!((&found.endpoints, &found.nfe), (&alone.endpoints, &alone.nfe), "{name} {sampler:?}");
            }
            // Stopped after the first batch: whole items of the first requests, and none of the others.
            let part = sample_together(&generator, &requests, &mut |_| false);
            assert_eq!(part.iter().map(|samples| samples.nfe.len()).collect::<Vec<_>>(), [3, 2, 0, 0]);
            assert_eq!(part[1].ids, found[1].ids[..2 * sites.count]);
        }
    }
}

#[test]
fn only_requests_of_equal_settings_share_batches() {
    let base = SampleRequest::map(3, 2, 0);
    let may = |edit: &dyn Fn(&mut SampleRequest)| {
        let mut other = base.clone();
        edit(&mut other);
        assert_eq!(base.shares_a_batch_with(&other), other.shares_a_batch_with(&base));
        base.shares_a_batch_with(&other)
    };
    assert!(may(&|r| r.seed = 1) && may(&|r| r.first = 8) && may(&|r| r.count = 9) && may(&|r| r.batch = 1));
    assert!(!may(&|r| r.temperature = 0.5) && !may(&|r| r.grid = SampleRequest::map(1, 3, 0).grid));
    assert!(!may(&|r| r.labels = vec![1].into()) && !may(&|r| r.observed = vec![vec![None]]));
    assert!(!may(&|r| r.guidance = 2.0) && !may(&|r| r.last = LastStep::Draw) && !may(&|r| r.sizes = vec![0, 1]));
    assert!(!may(&|r| r.sampler = Sampler::Euler) && !may(&|r| r.endpoints = false));
}
