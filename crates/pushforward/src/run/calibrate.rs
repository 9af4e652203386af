//! Calibration of a trained flow map on its validation items, kept in its checkpoint.

use std::path::Path;

use crate::data::Dataset;
use crate::flow_map::backbone::BackboneConfig;
use crate::flow_map::calibration::Calibration;
use crate::run::check::site_shape;
use crate::run::held_out::items;
use crate::run::stored::{CALIBRATION_KEY, LoadError};
use crate::run::trained::TrainedFlowMap;
use crate::train::checkpoint::Checkpoint;

/// Most items that a calibration is fitted on.
const ITEMS: usize = 512;
/// Most numbers of a level, so that it is fitted in about a second.
const NUMBERS: usize = 1 << 19;
/// Fewest items: with fewer, items are so large that the evidence of their sites is all but certain.
const FEWEST: usize = 4;

impl<C: BackboneConfig> TrainedFlowMap<C> {
    /// Fits the [`Calibration`] of [bounds](TrainedFlowMap::bound) on items that the model was not trained on. Does nothing
    /// where there is no bound, no item, or where items have more than 131,072 numbers.
    ///
    /// # Examples
    /// ```
    /// use std::{ops::ControlFlow, path::Path};
    /// use pushforward::flow_map::likelihood::BoundRequest;
    /// use pushforward::prelude::*;
    /// use pushforward::run::items;
    ///
    /// let text = "
    ///     name = 'tiny'
    ///     data = { set = 'echo' }
    ///     model = { family = 'flow-map', network = { kind = 'mlp', width = 8 } }
    /// ";
    /// let recipe: Recipe = Recipe::parse(text, "tiny", &["train.steps=2".into()])?;
    /// let data = Data::load(&recipe, Path::new("made"))?;
    /// let trained = train(&recipe, &data, TrainOptions::new(Device::flex()), &mut |_| ControlFlow::Continue(()))?;
    /// // A training ends with it; here once more, by another seed.
    /// let mut model = trained.loaded.flow_map("score")?.model;
    /// let Data::Categorical(splits) = &data else { unreachable!() };
    /// model.calibrate(splits.validation.as_ref(), 1);
    /// // After two steps, what a site says of itself is all there is: the bound is that of uniform letters.
    /// let held_out = items(splits.test.as_ref(), 200);
    /// let nats = model.bound(&held_out, 0, &BoundRequest::default())?.values;
    /// let mean = nats.iter().sum::<f64>() / 200.0;
    /// assert!((mean - 8.0 * 8f64.ln()).abs() < 0.5, "{mean}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn calibrate(&mut self, held_out: &dyn Dataset, seed: u64) {
        let sites = site_shape(&self.schema);
        let count = (NUMBERS / (sites.count * sites.classes)).min(ITEMS).min(held_out.len());
        if self.check_bound().is_err() || count < FEWEST.min(held_out.len()).max(1) {
            return;
        }
        self.calibration = Some(Calibration::fit(&self.net, &sites, &items(held_out, count), seed, &self.device));
    }
}

/// Adds the calibration of a model to its checkpoint, which may be a [small file](Checkpoint::pack).
///
/// # Errors
/// If the checkpoint cannot be read or written.
pub fn keep_calibration(calibration: &Calibration, path: &Path) -> Result<(), LoadError> {
    keep(CALIBRATION_KEY, serde_json::to_string(calibration).expect("a calibration holds numbers"), path)
}

/// Adds an entry to what a checkpoint says of itself.
pub(super) fn keep(key: &str, text: String, path: &Path) -> Result<(), LoadError> {
    Ok(Checkpoint::annotate(path, [(key.to_owned(), text)].into())?)
}
