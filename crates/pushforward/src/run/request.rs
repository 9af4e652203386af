//! Whether a request for samples fits a flow map.

use crate::data::Layout;
use crate::flow_map::config::{Condition, FlowMapConfig};
use crate::flow_map::map::Parametrisation;
use crate::flow_map::network::{FlowMapModel, NetworkConfig};
use crate::flow_map::sample::{LastStep, SampleRequest};
use crate::run::load::{Loaded, RequestError};

impl Loaded {
    /// The flow map, and a request for samples that fits it.
    pub(super) fn compatible(
        &self,
        what: &'static str,
        request: &SampleRequest,
    ) -> Result<(&FlowMapConfig, &FlowMapModel, SampleRequest), RequestError> {
        let (config, net) = self.flow_map(what, "use a flow-map checkpoint")?;
        if !(request.temperature.is_finite() && request.temperature > 0.0) {
            return Err(RequestError::Incompatible(format!(
                "the temperature is positive, found {}",
                request.temperature
            )));
        }
        let velocity = config.objective.off_diagonal.parametrisation() == Parametrisation::Velocity;
        if velocity && (request.last == LastStep::Draw || request.temperature != 1.0) {
            return Err(RequestError::Incompatible(
                "the naive baseline has no probabilities: its temperature is 1 and its last step argmax".into(),
            ));
        }
        self.check_condition(config, net, request)?;
        let mut request = request.clone();
        if let Some(allowed) = &request.allowed {
            if velocity {
                return Err(RequestError::Incompatible("the naive baseline has no probabilities to constrain".into()));
            }
            if (allowed.sites(), allowed.classes()) != (self.schema.sites, self.schema.classes) {
                return Err(RequestError::Incompatible(format!(
                    "the constraint is on {} sites of {} classes, and the model has {} of {}",
                    allowed.sites(),
                    allowed.classes(),
                    self.schema.sites,
                    self.schema.classes
                )));
            }
        }
        if let Layout::Graph(graph) = &self.schema.layout {
            if request.sizes.is_empty() {
                request.sizes.clone_from(&graph.sizes);
            }
            if request.sizes.len() > graph.nodes + 1 {
                return Err(RequestError::Incompatible(format!(
                    "the graphs of this model have at most {} nodes",
                    graph.nodes
                )));
            }
        } else if !request.sizes.is_empty() {
            return Err(RequestError::Incompatible("a number of nodes belongs to models of graphs".into()));
        }
        if request.diagonal_noise && !matches!(config.network, NetworkConfig::GraphTransformer(_)) {
            return Err(RequestError::Incompatible(
                "noise on the diagonal is for the network graph-transformer only".into(),
            ));
        }
        Ok((config, net, request))
    }

    /// Whether the condition and the guidance that a request names fit the model.
    fn check_condition(
        &self,
        config: &FlowMapConfig,
        net: &FlowMapModel,
        request: &SampleRequest,
    ) -> Result<(), RequestError> {
        let refuse = |what: String| Err(RequestError::Incompatible(what));
        if !request.labels.is_empty() {
            let Some(count) = net.label_count() else {
                return refuse(
                    "this model was not trained with labels: set model.condition.kind = label in its recipe".into(),
                );
            };
            if let Some(label) = request.labels.iter().find(|&&label| label as usize >= count) {
                return refuse(format!("the labels of this model are 0 to {}, found {label}", count - 1));
            }
        }
        if !request.prefix.is_empty() {
            if !matches!(config.condition, Condition::Prefix { .. }) {
                return refuse(
                    "this model was not trained with prefixes: set model.condition.kind = prefix in its recipe, or fix the \
                     sites by a constraint, which needs no training"
                        .into(),
                );
            }
            let (sites, classes) = (self.schema.sites, self.schema.classes);
            if request.prefix.len() > sites || request.prefix.iter().any(|&class| class as usize >= classes) {
                return refuse(format!("a prefix has at most {sites} sites of {classes} classes"));
            }
        }
        let w = request.guidance;
        if !(w.is_finite() && w > 0.0) {
            return refuse(format!("the weight of guidance is positive, found {w}"));
        }
        if w != 1.0 && self.weak.is_none() && request.labels.is_empty() && request.prefix.is_empty() {
            return refuse("guidance needs a label, a prefix or a weaker model to compare with".into());
        }
        Ok(())
    }
}
