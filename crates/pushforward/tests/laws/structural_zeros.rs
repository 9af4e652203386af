//! Samples of tables have no pair of values that the training rows never have.

use pushforward::burn::tensor::Device;
use pushforward::data::{DataConfig, Layout, Schema};
use pushforward::flow_map::config::FlowMapConfig;
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::sample::{LastStep, SampleRequest, Sampler};
use pushforward::rng::{Purpose, stream};
use pushforward::run::{TrainedFlowMap, site_shape};

/// Two columns of which each tells the other, and one of its own.
fn schema() -> Schema {
    let dir = tempfile::tempdir().unwrap();
    let rows: String = (0..600).map(|i| format!("{},{},{}\n", ["a", "b", "c"][i % 3], 5 + i % 3, i / 3 % 4)).collect();
    std::fs::write(dir.path().join("t.csv"), format!("letter,number,other\n{rows}")).unwrap();
    let config: DataConfig = toml::from_str("set = 'table'\npath = 't.csv'").unwrap();
    config.load(dir.path(), 0).unwrap().schema().clone()
}

/// A network that knows nothing, so that all rows are as likely.
fn untrained() -> TrainedFlowMap {
    let (schema, device) = (schema(), Device::flex());
    let config: FlowMapConfig<NetworkConfig> =
        toml::from_str("network = { kind = 'mlp', width = 8 }\ncondition = { kind = 'observed' }").unwrap();
    let net = config.model(None).init(site_shape(&schema), &device, &mut stream(0, Purpose::Init, 0));
    TrainedFlowMap::new(config, net, schema, &device)
}

#[test]
fn of_every_sampler_and_last_step() {
    let model = untrained();
    let Layout::Columns(table) = &model.schema.layout else { unreachable!("a table") };
    let zeros = table.structural_zeros();
    assert_eq!(zeros.len(), 6);
    for (sampler, last) in [
        (Sampler::Map, LastStep::Argmax),
        (Sampler::Map, LastStep::Draw),
        (Sampler::Euler, LastStep::Draw),
        (Sampler::RENOISE, LastStep::Argmax),
    ] {
        let request = SampleRequest { sampler, last, ..SampleRequest::map(300, 2, 0) };
        let samples = model.sample(&request, &mut |_| true).unwrap();
        assert!(samples.items().all(|row| zeros.allows(row)), "{sampler:?} {last:?}");
        if last == LastStep::Argmax {
            continue;
        }
        // Every row that there is still occurs.
        let mut rows: Vec<&[u32]> = samples.items().collect();
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows.len(), 12, "{sampler:?} {last:?}");
    }
}

#[test]
fn what_is_told_is_kept() {
    let model = untrained();
    let Layout::Columns(table) = &model.schema.layout else { unreachable!("a table") };
    let request = |row: Vec<Option<u32>>| SampleRequest { observed: vec![row], ..SampleRequest::map(50, 1, 0) };
    let samples = model.sample(&request(vec![None, Some(2), None]), &mut |_| true).unwrap();
    let c = table.encode(0, "c").unwrap();
    assert!(samples.items().all(|row| row[..2] == [c, 2]));
    // A row that is told two values which exclude each other has both.
    let samples = model.sample(&request(vec![Some(c), Some(0), None]), &mut |_| true).unwrap();
    assert!(samples.items().all(|row| row[..2] == [c, 0]));
}
