//! Time grids of a trained flow map, kept in its checkpoint.

use std::path::Path;

use crate::flow_map::backbone::BackboneConfig;
use crate::flow_map::grids::{Grids, search};
use crate::flow_map::sample::{SampleRequest, Sampler};
use crate::flow_map::time::TimeGrid;
use crate::node_pairs::ABSENT;
use crate::run::calibrate::keep;
use crate::run::stored::{GRIDS_KEY, LoadError};
use crate::run::trained::{RequestError, TrainedFlowMap};

/// Evaluations of Heun's method along the differential equation that jumps are compared with.
const REFERENCE: usize = 63;

/// Times of one number of jumps, and how many sites end as along the differential equation.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedGrid {
    /// The times.
    pub grid: TimeGrid,
    /// Share of the sites with the class of the differential equation, by equal steps.
    pub equal: f64,
    /// The same by these times.
    pub fitted: f64,
}

impl<C: BackboneConfig> TrainedFlowMap<C> {
    /// Chooses the times of each number of jumps in `steps`, and keeps them for [samples](TrainedFlowMap::sample): those by which
    /// most sites of `items` samples end in the class that Heun's method with 63 evaluations gives them from the same noise.
    /// No data are needed. `progress` is called with the evaluations of an item so far, and ends the search by returning false;
    /// nothing is kept then.
    ///
    /// # Errors
    /// If the model cannot draw samples by default.
    ///
    /// # Examples
    /// ```
    /// use pushforward::burn::tensor::Device;
    /// use pushforward::data::{Layout, Schema};
    /// use pushforward::flow_map::{config::FlowMapConfig, network::NetworkConfig, sample::SampleRequest};
    /// use pushforward::rng::{Purpose, stream};
    /// use pushforward::run::{TrainedFlowMap, site_shape};
    ///
    /// let (schema, device) = (Schema { sites: 3, classes: 5, layout: Layout::Table }, Device::flex());
    /// let config: FlowMapConfig<NetworkConfig> = toml::from_str("network = { kind = 'mlp', width = 8 }")?;
    /// let net = config.model(None).init(site_shape(&schema), &device, &mut stream(0, Purpose::Init, 0));
    /// let mut model = TrainedFlowMap::new(config, net, schema, &device);
    /// let fitted = model.fit_grids(&[2, 4], 64, 0, &mut |_| true)?;
    /// assert!(fitted.iter().all(|one| one.fitted >= one.equal));
    /// assert_eq!(model.grids.of(2), Some(fitted[0].grid.clone()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fit_grids(
        &mut self,
        steps: &[usize],
        items: usize,
        seed: u64,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<FittedGrid>, RequestError> {
        if steps.is_empty() {
            return Ok(Vec::new());
        }
        let mut spent = 0;
        let mut classes = |sampler: Sampler, grid: TimeGrid, nfe: usize| {
            let plain = SampleRequest { endpoints: false, ..SampleRequest::map(items, 1, seed) };
            let request = SampleRequest { sampler, grid, kept: false, ..plain };
            spent += nfe;
            let goes_on = progress(spent);
            self.sample(&request, &mut |_| true).map(|samples| (samples.ids, goes_on))
        };
        let reference = Sampler::Heun.grid(REFERENCE).map_err(|e| RequestError(e.to_string()))?;
        let (wanted, mut goes_on) = classes(Sampler::Heun, reference, REFERENCE)?;
        let mut fitted = Vec::new();
        for &steps in steps {
            let mut failed = None;
            let mut cost = |grid: &TimeGrid| {
                if !goes_on || failed.is_some() {
                    return f64::NAN;
                }
                match classes(Sampler::Map, grid.clone(), steps) {
                    Ok((found, more)) => {
                        goes_on = more;
                        let there = wanted.iter().filter(|&&class| class != ABSENT).count();
                        let other = found.iter().zip(&wanted).filter(|(a, b)| a != b).count();
                        other as f64 / there.max(1) as f64
                    }
                    Err(error) => {
                        failed = Some(error);
                        f64::NAN
                    }
                }
            };
            let (grid, [equal, least]) = search(steps, &mut cost);
            if let Some(error) = failed {
                return Err(error);
            }
            fitted.push(FittedGrid { grid, equal: 1.0 - equal, fitted: 1.0 - least });
        }
        if goes_on {
            for one in &fitted {
                // Margins are those of other times.
                self.margins.forget(one.grid.steps());
                self.grids.keep(one.grid.clone());
            }
            Ok(fitted)
        } else {
            Ok(Vec::new())
        }
    }
}

/// Adds the time grids of a model to its checkpoint.
///
/// # Errors
/// As [`keep_calibration`](crate::run::keep_calibration).
pub fn keep_grids(grids: &Grids, path: &Path) -> Result<(), LoadError> {
    keep(GRIDS_KEY, serde_json::to_string(grids).expect("grids are numbers"), path)
}
