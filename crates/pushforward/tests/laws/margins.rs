//! Samples of tables have each value as often as the training rows, where the model keeps factors for that.

use std::ops::ControlFlow;
use std::path::Path;

use burn::module::Module as _;
use burn::tensor::DType;
use pushforward::data::tables::TableLayout;
use pushforward::data::{DataConfig, Layout, Schema};
use pushforward::flow_map::config::FlowMapConfig;
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::sample::{LastStep, SampleRequest, Sampler};
use pushforward::flow_map::time::TimeGrid;
use pushforward::node_pairs::ABSENT;
use pushforward::rng::{Purpose, stream};
use pushforward::run::{
    Data, Recipe, RequestError, TrainOptions, TrainedFlowMap, WeightSet, items, load, site_shape, train,
};
use pushforward::tensor::cast_module;

use super::dual::randomise;
use crate::support::device;

/// A table of a letter, of which one in twenty is rare, and a number.
fn write(folder: &Path) {
    let letter = |i: usize| if i.is_multiple_of(20) { "c" } else { ["a", "b"][i % 2] };
    let rows: String = (0..800).map(|i| format!("{},{}\n", letter(i), i / 3 % 4)).collect();
    std::fs::write(folder.join("t.csv"), format!("letter,number\n{rows}")).unwrap();
}

fn schema() -> Schema {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let config: DataConfig = toml::from_str("set = 'table'\npath = 't.csv'\nstructural_zeros = 0").unwrap();
    config.load(dir.path(), 0).unwrap().schema().clone()
}

/// A model of random weights.
fn model() -> TrainedFlowMap {
    of(schema())
}

/// The same of other data.
fn of(schema: Schema) -> TrainedFlowMap {
    let device = device();
    let text = "network = { kind = 'mlp', width = 16 }\ncondition = { kind = 'observed' }";
    let config: FlowMapConfig<NetworkConfig> = toml::from_str(text).expect("a configuration");
    let net =
        config.model(None).init(site_shape(&schema), &device.clone().autodiff(), &mut stream(0, Purpose::Init, 0));
    TrainedFlowMap::new(config, cast_module(randomise(net), DType::F32).valid(), schema, &device)
}

fn table(model: &TrainedFlowMap) -> &TableLayout {
    let Layout::Columns(table) = &model.schema.layout else { unreachable!("a table") };
    table
}

fn ids(model: &TrainedFlowMap, request: &SampleRequest) -> Vec<u32> {
    model.sample(request, &mut |_| true).expect("the request fits").ids
}

/// Mean total variation of the two columns from those of the table: letters and numbers are as often as in [`schema`].
fn apart(model: &TrainedFlowMap, request: &SampleRequest) -> f64 {
    let (ids, table) = (ids(model, request), table(model));
    let share = |site: usize, value: &str| {
        let class = table.encode(site, value).unwrap();
        ids.chunks(2).filter(|row| row[site] == class).count() as f64 * 2.0 / ids.len() as f64
    };
    let letters = [("a", 0.45), ("b", 0.5), ("c", 0.05)].map(|(letter, p)| (share(0, letter) - p).abs());
    let numbers = ["0", "1", "2", "3"].map(|number| (share(1, number) - 0.25).abs());
    (letters.iter().sum::<f64>() + numbers.iter().sum::<f64>()) / 4.0
}

#[test]
fn values_are_as_often_as_in_training_rows() -> Result<(), RequestError> {
    let mut model = model();
    // Other noise than the factors are fitted on.
    let request = SampleRequest::map(6000, 2, 5);
    let before = apart(&model, &request);
    let mut told = 0;
    let fitted = model.fit_margins(None, &[2], 0, &mut |rows| {
        told = rows;
        true
    })?;
    assert!(told == fitted[0].rows && fitted[0].before > 0.5 && fitted[0].after < 0.05, "{fitted:?}");
    let after = apart(&model, &request);
    assert!(before > 0.5 && after < 0.07, "{before} before, {after} after");
    Ok(())
}

#[test]
fn requests_of_another_kind_stay_as_they_are() -> Result<(), RequestError> {
    let (plain, mut raked) = (model(), model());
    raked.fit_margins(None, &[2], 0, &mut |_| true)?;
    let request = SampleRequest::map(500, 2, 5);
    assert_ne!(ids(&plain, &request), ids(&raked, &request));
    let other_times = TimeGrid::new(vec![0.0, 0.4, 1.0]).expect("rising times");
    for other in [
        SampleRequest { kept: false, ..request.clone() },
        SampleRequest { grid: other_times, kept: false, ..request.clone() },
        SampleRequest::map(500, 3, 5),
        SampleRequest { sampler: Sampler::Euler, ..request.clone() },
        SampleRequest { last: LastStep::Draw, ..request.clone() },
        SampleRequest { temperature: 0.7, ..request.clone() },
        SampleRequest { observed: vec![vec![Some(0), None]], ..request.clone() },
    ] {
        assert_eq!(ids(&plain, &other), ids(&raked, &other), "{other:?}");
    }
    // What is known of a search that was ended is not kept, and other times make margins wrong.
    assert!(raked.fit_margins(None, &[3], 0, &mut |_| false)?.is_empty() && raked.margins.of(3).is_none());
    raked.fit_grids(&[2], 64, 0, &mut |_| true)?;
    assert!(raked.margins.is_empty());
    Ok(())
}

#[test]
fn a_training_ends_with_times_and_margins_of_its_evaluations() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    write(dir.path());
    let text = "
        name = 'tiny'
        data = { set = 'table', path = 't.csv' }
        model = { family = 'flow-map', network = { kind = 'mlp', width = 8 }, condition = { kind = 'observed' } }
        train = { steps = 2, batch = 16 }
        eval = { nfe = [1, 2] }
    ";
    let recipe: Recipe = Recipe::parse(text, "tiny", &[])?;
    let data = Data::load(&recipe, dir.path())?;
    let options = TrainOptions { folder: Some(dir.path().join("run")), ..TrainOptions::new(device()) };
    train(&recipe, &data, options, &mut |_| ControlFlow::Continue(()))?;
    let kept =
        load::<NetworkConfig>(&dir.path().join("run"), WeightSet::Ema, &device())?.flow_map("be looked at")?.model;
    assert!(kept.margins.of(1).is_some() && kept.margins.of(2).is_some() && kept.margins.of(3).is_none());
    assert!(kept.grids.of(2).is_some() && kept.grids.of(1).is_none());
    Ok(())
}

#[test]
fn of_other_data_they_are_counted_in_the_training_items() -> Result<(), Box<dyn std::error::Error>> {
    // Molecules of one to four atoms.
    let config: DataConfig = toml::from_str("set = 'small-molecules'\natoms = 4")?;
    let splits = config.load(Path::new("unused"), 0)?;
    let mut model = of(splits.schema().clone());
    let message = model.fit_margins(None, &[1], 0, &mut |_| true).expect_err("no dictionary").to_string();
    assert!(message.contains("training data"), "{message}");
    let fitted = model.fit_margins(Some(splits.train.as_ref()), &[1], 0, &mut |_| true)?;
    assert!(fitted[0].before > 0.3 && fitted[0].after < 0.03, "{fitted:?}");
    // Shares of carbon among the atoms that are there, at each place; the noise is another one than that of the fit.
    let carbons = |ids: &[u32]| {
        [0, 1, 2, 3].map(|atom| {
            let there = ids.chunks(10).map(|row| row[atom]).filter(|&id| id != ABSENT);
            let (all, carbons) = there.fold((0, 0), |(all, carbons), id| (all + 1, carbons + u32::from(id == 0)));
            f64::from(carbons) / f64::from(all)
        })
    };
    let found = carbons(&ids(&model, &SampleRequest::map(6000, 1, 5)));
    let wanted = carbons(&items(splits.train.as_ref(), splits.train.len()));
    assert!(found.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 0.05), "{found:?} {wanted:?}");
    // Other data are not counted.
    model.schema.layout = Layout::Table;
    assert!(model.fit_margins(Some(splits.train.as_ref()), &[1], 0, &mut |_| true).is_err());
    Ok(())
}
