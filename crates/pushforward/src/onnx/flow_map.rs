//! Flow maps: one jump, and a sampler.

use burn::tensor::Tensor;

use super::error::OnnxError;
use super::exported::Exported;
use super::tape::Tape;
use crate::dual::softmax;
use crate::flow_map::backbone::{BackboneConfig, EndpointNet, Parametrisation};
use crate::flow_map::conditioning::{Condition, Conditioning};
use crate::flow_map::losses;
use crate::flow_map::map::FlowMap;
use crate::flow_map::model::FlowMapModel;
use crate::flow_map::sample::guidance::Guided;
use crate::flow_map::sample::{GUIDANCE, TEMPERATURE};
use crate::flow_map::time::{TimeGrid, jump_weights};
use crate::nn::{Pass, SiteShape};
use crate::rng::Stream;
use crate::run::{TrainedFlowMap, site_shape};
use crate::tensor::from_host;

/// One jump of the map, from the point `x` at time `s` to time `t`:
///
/// ```text
/// endpoint = pi_{s,t}(x)      next = x + gamma(s,t) (endpoint - x)
/// ```
///
/// # Shapes
/// - inputs: `x`: `[batch, sites, classes]`, `s`, `t`: `[batch]`, and what the model is told: `label`: `[batch]`,
///   integers, the number of labels for none; `size`: `[batch]`, integers, nodes of a graph or letters of a sequence;
///   `observed`: `[batch, sites, classes]`, one-hot where a site is told, else zeros
/// - outputs: `logits`, `endpoint`, `next`: `[batch, sites, classes]`
///
/// # Errors
/// If the network computes what cannot be recorded.
pub fn jump<C: BackboneConfig>(model: &TrainedFlowMap<C>) -> Result<Exported<'_>, OnnxError> {
    let sites = site_shape(&model.schema);
    let compute = move |tape: &mut Tape<'_>| {
        let net = tape.module(&model.net);
        let x = tape.input("x", [tape.batch, sites.count, sites.classes], Stream::normal);
        let s = tape.input("s", [tape.batch], |stream| stream.uniform() / 2.0);
        let t = tape.input("t", [tape.batch], |stream| 0.5 + stream.uniform() / 2.0);
        let conditioning = told(tape, &net, &sites, &model.config.condition, &x);
        let z =
            net.logits(x.clone().into(), s.clone().into(), t.clone().into(), &conditioning, &mut Pass::eval()).value;
        let over = |row: Tensor<1>| row.reshape([tape.batch, 1, 1]);
        let endpoint = match net.parametrisation() {
            Parametrisation::Endpoint => softmax(z.clone()),
            Parametrisation::Velocity => x.clone() + z.clone() * over(s.clone().neg() + 1.0),
        };
        let next = losses::jump(x, endpoint.clone(), over(jump_weights(s, t)));
        tape.output("logits", &z);
        tape.output("endpoint", &endpoint);
        tape.output("next", &next);
    };
    Exported::of(compute, [("graph", "jump".into())])
}

/// Settings of a [`sampler`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplerSettings {
    /// Network evaluations, that is jumps.
    pub evaluations: usize,
    /// Divides the logits.
    pub temperature: f64,
    /// Weight of classifier-free guidance, 1 for none; with guidance every jump takes two passes.
    pub guidance: f64,
}

impl SamplerSettings {
    /// So many evaluations, at temperature 1 and without guidance.
    pub fn new(evaluations: usize) -> Self {
        Self { evaluations, temperature: 1.0, guidance: 1.0 }
    }
}

/// The whole sampler: jumps from noise to classes, of equal length where the model [keeps](crate::flow_map::grids) no other times.
///
/// # Shapes
/// - inputs: `noise`: `[batch, sites, classes]`, draws of the source, standard normal unless the recipe says otherwise;
///   and what the model is told, as for [`jump`]
/// - outputs: `classes`: `[batch, sites]`, integers, -1 for sites that an item does not have; `endpoint`: `[batch,
///   sites, classes]`
///
/// # Errors
/// As [`jump`], and if a setting is not one of the model's samples.
pub fn sampler<C: BackboneConfig>(
    model: &TrainedFlowMap<C>,
    settings: SamplerSettings,
) -> Result<Exported<'_>, OnnxError> {
    let SamplerSettings { evaluations, temperature, guidance } = settings;
    if evaluations == 0 {
        return Err(OnnxError::Missing("a sampler takes at least one network evaluation".into()));
    }
    if !TEMPERATURE.contains(&temperature) || !GUIDANCE.contains(&guidance) {
        let found = format!("temperature {temperature} and guidance {guidance}");
        return Err(OnnxError::Missing(format!("{found} are out of the ranges of samples")));
    }
    if guidance != 1.0 && model.net.label_count().is_none() {
        return Err(OnnxError::Missing("guidance is for models that take labels".into()));
    }
    let sites = site_shape(&model.schema);
    let grid = model.grids.of(evaluations).unwrap_or_else(|| TimeGrid::uniform(evaluations));
    let compute = move |tape: &mut Tape<'_>| {
        let net = tape.module(&model.net);
        let noise = tape.input("noise", [tape.batch, sites.count, sites.classes], Stream::normal);
        let conditioning = told(tape, &net, &sites, &model.config.condition, &noise);
        let mut x = model.config.noise().shape(noise, sites.clone(), &conditioning);
        let guided = (guidance != 1.0).then(|| Guided::new(&net, None, guidance));
        for (s, t) in grid.intervals() {
            let [s, t] = [s, t].map(|time| vec![time; tape.batch]);
            x = match &guided {
                Some(net) => jumped(net, &conditioning, temperature, x, &s, &t),
                None => jumped(&net, &conditioning, temperature, x, &s, &t),
            };
        }
        let classes = conditioning.mask_logits(x.clone()).argmax(2).squeeze_dim::<2>(2);
        let classes = match &conditioning.site_mask {
            Some(mask) => classes.mask_fill(mask.clone().lower_scalar(0.5), -1),
            None => classes,
        };
        tape.int_output("classes", &classes);
        tape.output("endpoint", &x);
    };
    let about = [
        ("graph", "sampler".into()),
        ("evaluations", evaluations.to_string()),
        ("temperature", temperature.to_string()),
        ("guidance", guidance.to_string()),
    ];
    Exported::of(compute, about)
}

fn jumped<N: EndpointNet>(
    net: &N,
    conditioning: &Conditioning,
    temperature: f64,
    x: Tensor<3>,
    s: &[f64],
    t: &[f64],
) -> Tensor<3> {
    FlowMap::new(net).with_temperature(temperature).of(conditioning.clone()).jump(x, s, t)
}

/// What the model is told, as inputs of the graph.
fn told<N>(
    tape: &mut Tape<'_>,
    net: &FlowMapModel<N>,
    sites: &SiteShape,
    condition: &Condition,
    like: &Tensor<3>,
) -> Conditioning
where
    N: burn::module::Module + crate::flow_map::backbone::Backbone,
{
    // One more than the labels stands for none.
    let labels = net.label_count().map(|count| tape.int_input("label", [0, count]));
    let site_mask = present(tape, sites, like);
    let tells = matches!(condition, Condition::Prefix { .. } | Condition::Observed { .. });
    // The first class of every other site.
    let mut numbers = (0..).map(|at| f64::from(u8::from(at % (2 * sites.classes) == 0)));
    let observed = tells.then(|| {
        let shape = [tape.batch, sites.count, sites.classes];
        tape.input("observed", shape, |_| numbers.next().unwrap_or(0.0))
    });
    Conditioning { site_mask, class_mask: sites.class_mask(like), labels, observed, ..Conditioning::default() }
}

/// Which sites items of the sizes of an input have, `[batch, sites]`; `None` if all items have all sites.
pub(super) fn present(tape: &mut Tape<'_>, sites: &SiteShape, like: &Tensor<3>) -> Option<Tensor<2>> {
    let largest = sites.largest_size()?;
    let rows: Vec<f64> = (0..=largest).flat_map(|size| sites.sites_of(size)).collect();
    let table: Tensor<2> = from_host(&rows, [largest + 1, sites.count], like);
    Some(table.select(0, tape.int_input("size", [1, largest])))
}
