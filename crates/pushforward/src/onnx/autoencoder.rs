//! Autoencoders of images: encoder, decoder, and the prior both ways.

use super::error::OnnxError;
use super::exported::Exported;
use super::tape::Tape;
use crate::aef::AefModel;
use crate::aef::model::Code;
use crate::rng::Stream;
use crate::run::TrainedAef;

/// A part of an autoencoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `image`: `[batch, n]` in data space to `latent`: `[batch, d]`, `base`: `[batch, d]` (the latent as the prior's
    /// standard normal variable) and, if the model has them, `deviations`: `[batch, m]`; of models with an exact density
    /// also `log_density`: `[batch]`, in nats.
    Encoder,
    /// `latent`: `[batch, d]` and, if the model has them, `deviations`: `[batch, m]` to `image`: `[batch, n]`.
    Decoder,
    /// `base`: `[batch, d]`, standard normal numbers, to `latent`: `[batch, d]`.
    Prior,
    /// The decoder of base variables, of data in classes: see [`categorical_autoencoder`](super::categorical_autoencoder).
    Coupling,
}

impl Part {
    /// The part as the metadata of a file has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Encoder => "encoder",
            Self::Decoder => "decoder",
            Self::Prior => "prior",
            Self::Coupling => "coupling",
        }
    }
}

/// A part of an autoencoder of images as a graph.
///
/// # Errors
/// If the model computes what cannot be recorded, or has no prior.
pub fn autoencoder(model: &TrainedAef, part: Part) -> Result<Exported<'_>, OnnxError> {
    let n = model.shape.numel();
    let flow = matches!(model.net, AefModel::Flow(_));
    let d = if flow { n } else { model.config.latent };
    let m = model.net.deviations(n, d);
    if part == Part::Prior && matches!(model.net, AefModel::Flow(_) | AefModel::Autoencoder(_)) {
        return Err(OnnxError::Missing("this model has no prior beside its decoder".into()));
    }
    if part == Part::Coupling {
        return Err(OnnxError::Missing("only autoencoders of data in classes have a coupling".into()));
    }
    let compute = move |tape: &mut Tape<'_>| {
        let mut net = tape.module(&model.net);
        net.assume_initialised();
        match part {
            Part::Encoder => {
                let image = tape.input("image", [tape.batch, n], |stream| 0.01 + 0.98 * stream.uniform());
                let (code, density) = match &net {
                    AefModel::Partition(model) => {
                        let found = model.encode(&net.prepare(image));
                        (Code { z: found.z, deviations: Some(found.deviations) }, Some(found.log_density))
                    }
                    AefModel::Flow(model) => {
                        let (z, density) = model.encode(&net.prepare(image));
                        (Code { z, deviations: None }, Some(density))
                    }
                    AefModel::Latent(_) | AefModel::Autoencoder(_) => (net.encode(image), None),
                };
                if let Some(density) = &density {
                    tape.output("log_density", density);
                }
                tape.output("latent", &code.z);
                if let Some(deviations) = &code.deviations {
                    tape.output("deviations", deviations);
                }
                if net.generates() && !flow {
                    tape.output("base", &net.to_base(code.z));
                }
            }
            Part::Decoder => {
                let latent = tape.input("latent", [tape.batch, d], Stream::normal);
                let deviations = (m > 0).then(|| tape.input("deviations", [tape.batch, m], Stream::normal));
                tape.output("image", &net.decode(latent, deviations));
            }
            Part::Prior | Part::Coupling => {
                let base = tape.input("base", [tape.batch, d], Stream::normal);
                tape.output("latent", &net.from_base(base));
            }
        }
    };
    Exported::of(compute, [("graph", part.name().into())])
}
