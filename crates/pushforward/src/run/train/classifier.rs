//! Training of classifiers.

use crate::classifier::{Classifier, ClassifierConfig, ClassifierObjective, LabelledBatch, accuracy};
use crate::data::{Batches, Splits};
use crate::run::check::site_shape;
use crate::run::train::error::TrainRunError;
use crate::run::train::session::Session;
use crate::run::trained::classifier::{BATCH, held_out};
use crate::train::Outcome;

/// Trains a classifier; the resulting model has the averaged weights of the last step, without gradients.
pub(super) fn train(
    session: &mut Session<'_>,
    splits: &Splits,
    config: &ClassifierConfig,
    labels: Option<usize>,
) -> Result<Outcome<Classifier>, TrainRunError> {
    let labels = labels.ok_or(TrainRunError::NoClasses)?;
    let sites = site_shape(splits.schema());
    let net = config.init(sites.clone(), labels, &session.device.clone().autodiff(), &mut session.init());
    let batches = Batches::new(splits.train.clone(), session.config.batch, session.seed);
    let validation = held_out(splits.validation.as_ref());
    let validate =
        |ema: &Classifier| vec![("error".to_owned(), 1.0 - accuracy(ema, &validation, sites.clone(), BATCH))];
    let objective = ClassifierObjective { classes: sites.classes };
    session.fit(net, &objective, &|index| LabelledBatch::at(&batches, index), &validate, &|_| Vec::new())
}
