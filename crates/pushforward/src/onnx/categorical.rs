//! Autoencoders of data in classes: encoder, decoder, the prior both ways, and the coupling.

use burn::tensor::Tensor;

use super::autoencoder::Part;
use super::error::OnnxError;
use super::exported::Exported;
use super::flow_map::present;
use super::tape::Tape;
use crate::nn::SiteShape;
use crate::rng::Stream;
use crate::run::TrainedCategoricalAef;

/// A part of an autoencoder of data in classes as a graph.
///
/// # Shapes
/// With `d` numbers of the latent:
/// - [`Part::Encoder`]: `items`: `[batch, sites, classes]`, one-hot, zeros for sites that an item does not have, to
///   `latent` and `base`: `[batch, d]`, the latent as the prior's standard normal variable
/// - [`Part::Decoder`]: `latent`: `[batch, d]` to `logits`: `[batch, sites, classes]` and `classes`: `[batch, sites]`, the
///   most probable ones; where items differ in size also from `size`: `[batch]`, integers, and with -1 for the sites that
///   an item of that size does not have
/// - [`Part::Prior`]: `base`: `[batch, d]`, standard normal numbers, to `latent`: `[batch, d]`; a flow map as the prior by
///   the differential equation of its diagonal
/// - [`Part::Coupling`]: as the decoder, from `base` in the place of `latent`
///
/// # Errors
/// If the model computes what cannot be recorded, or has no coupling.
///
/// # Examples
/// ```
/// use pushforward::aef::categorical::CategoricalConfig;
/// use pushforward::burn::tensor::Device;
/// use pushforward::data::{Layout, Schema};
/// use pushforward::onnx::{Check, Numbers, Part, categorical_autoencoder};
/// use pushforward::rng::{Purpose, stream};
/// use pushforward::run::{TrainedCategoricalAef, site_shape};
///
/// let (schema, device) = (Schema { sites: 3, classes: 5, layout: Layout::Table }, Device::flex());
/// let config: CategoricalConfig = toml::from_str("latent = 2\nprior = { kind = 'flow-map' }")?;
/// let mut net = config.init(site_shape(&schema), &device, &mut stream(0, Purpose::Init, 0));
/// net.initialise(&[0, 1, 2, 3, 4, 0]);
/// let model = TrainedCategoricalAef { config, net, schema, device };
/// let decoder = categorical_autoencoder(&model, Part::Decoder)?;
/// let bytes = decoder.to_bytes(Numbers::F32, &[])?;
/// assert!(matches!(decoder.check(Numbers::F32, &bytes)?, Check::Equal { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn categorical_autoencoder(model: &TrainedCategoricalAef, part: Part) -> Result<Exported<'_>, OnnxError> {
    if part == Part::Coupling && model.net.coupling.is_none() {
        return Err(OnnxError::Missing("this model has no coupling, the decoder of base variables".into()));
    }
    let (sites, d) = (model.net.sites().clone(), model.config.latent);
    let compute = move |tape: &mut Tape<'_>| {
        let mut net = tape.module(&model.net);
        net.assume_initialised();
        match part {
            Part::Encoder => {
                // A trial has items of several classes.
                let (classes, mut numbers) = (sites.classes, 0..);
                let one_hot = move |_: &mut Stream| {
                    let at: usize = numbers.next().unwrap_or(0);
                    f64::from(u8::from(at % classes == (at / classes * 7 + 3) % classes))
                };
                let items = tape.input("items", [tape.batch, sites.count, sites.classes], one_hot);
                let latent = net.code_of(items);
                tape.output("latent", &latent);
                tape.output("base", &net.to_base(latent));
            }
            Part::Decoder => {
                let latent = tape.input("latent", [tape.batch, d], Stream::normal);
                outputs(tape, &sites, net.logits(latent));
            }
            Part::Prior => {
                let base = tape.input("base", [tape.batch, d], Stream::normal);
                tape.output("latent", &net.from_base(base));
            }
            Part::Coupling => {
                let base = tape.input("base", [tape.batch, d], Stream::normal);
                outputs(tape, &sites, net.one_step_logits(base));
            }
        }
    };
    Exported::of(compute, [("graph", part.name().into())])
}

/// The logits of items, and their most probable classes.
fn outputs(tape: &mut Tape<'_>, sites: &SiteShape, logits: Tensor<3>) {
    let classes = logits.clone().argmax(2).squeeze_dim::<2>(2);
    let classes = match present(tape, sites, &logits) {
        Some(mask) => classes.mask_fill(mask.lower_scalar(0.5), -1),
        None => classes,
    };
    tape.output("logits", &logits);
    tape.int_output("classes", &classes);
}
