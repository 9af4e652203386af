//! The arguments of samples, with all of their defaults filled in by Python.

use pushforward::flow_map::constraint::Constraint;
use pushforward::flow_map::sample::{LabelChoice, LastStep, ObservedRow, SampleRequest, Sampler};
use pushforward::nn::SiteShape;
use pyo3::prelude::*;

use crate::failure;

/// A dictionary of all settings.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Settings {
    count: usize,
    nfe: usize,
    seed: u64,
    first: u64,
    batch: usize,
    sampler: String,
    gamma: f64,
    temperature: f64,
    draw: bool,
    correct: bool,
    endpoints: bool,
    /// Labels in turn, none at all if the list is empty; as in training if absent.
    labels: Option<Vec<u32>>,
    guidance: f64,
    /// What the model is told, `None` for sites that are drawn.
    observed: Vec<ObservedRow>,
    /// Allowed classes of every site; `None` for all.
    allowed: Option<Vec<Vec<u32>>>,
    size: Option<usize>,
}

impl Settings {
    /// The request of these settings.
    pub(crate) fn request(self, sites: &SiteShape) -> PyResult<SampleRequest> {
        let sampler = match self.sampler.as_str() {
            "map" => Sampler::Map,
            "euler" => Sampler::Euler,
            "heun" => Sampler::Heun,
            "renoise" => Sampler::Renoise { gamma: self.gamma },
            "dopri5" => Sampler::Dopri5 { tolerance: 1e-3 },
            other => {
                let known = "map, euler, heun, renoise, dopri5";
                return Err(failure::request(format!("there is no sampler {other:?}: the samplers are {known}")));
            }
        };
        if self.gamma != 1.0 && self.sampler != "renoise" {
            return Err(failure::request("gamma is for the sampler renoise"));
        }
        let mut constraint = None;
        if let Some(rows) = &self.allowed {
            let mut closed = Constraint::all(sites.clone());
            for (site, classes) in rows.iter().enumerate() {
                // A mask has the width of the column with the most classes.
                let classes: Vec<u32> =
                    classes.iter().copied().filter(|&class| (class as usize) < sites.classes_of(site)).collect();
                closed = closed.only(site, &classes).map_err(failure::request)?;
            }
            constraint = Some(closed);
        }
        let one = |size: usize| (0..=size).map(|n| u64::from(n == size)).collect();
        Ok(SampleRequest {
            sampler,
            grid: sampler.grid(self.nfe).map_err(failure::request)?,
            first: self.first,
            batch: self.batch.max(1),
            temperature: self.temperature,
            last: if self.draw { LastStep::Draw } else { LastStep::Argmax },
            endpoints: self.endpoints,
            correct: self.correct,
            constraint,
            labels: self.labels.map_or(LabelChoice::AsTrained, LabelChoice::InTurn),
            observed: self.observed,
            guidance: self.guidance,
            sizes: self.size.map_or_else(Vec::new, one),
            ..SampleRequest::map(self.count, 1, self.seed)
        })
    }
}
