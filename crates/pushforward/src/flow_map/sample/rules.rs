//! Rules that items keep: what the last decision is mended by.

use std::fmt::Debug;

use crate::structural_zeros::StructuralZeros;

/// What items have to be, such as pairs of classes that never occur together.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use pushforward::burn::tensor::Device;
/// use pushforward::flow_map::model::FlowMapModel;
/// use pushforward::flow_map::sample::{Generator, Rules, SampleRequest, sample};
/// use pushforward::nn::{SiteShape, mlp::MlpConfig};
/// use pushforward::rng::{Purpose, stream};
///
/// /// Bits of even sum.
/// #[derive(Debug)]
/// struct Even;
/// impl Rules for Even {
///     fn hold(&self, ids: &[u32]) -> bool {
///         ids.iter().sum::<u32>() % 2 == 0
///     }
///     fn mend(&self, ids: &mut [u32], law: &[f64], open: &dyn Fn(usize, usize) -> bool) {
///         // The bit that is least certain.
///         let certain = |&site: &usize| law[2 * site + ids[site] as usize];
///         let may = (0..ids.len()).filter(|&site| open(site, 1 - ids[site] as usize));
///         if let Some(site) = may.min_by(|a, b| certain(a).total_cmp(&certain(b))) {
///             ids[site] = 1 - ids[site];
///         }
///     }
/// }
///
/// let (sites, device) = (SiteShape::line(5, 2), Device::flex());
/// let network = MlpConfig::default().init(sites.clone(), &device, &mut stream(0, Purpose::Init, 0));
/// let model = FlowMapModel::new(network, sites.clone());
/// let generator = Generator::new(&model, sites, &device).with_rules(Arc::new(Even));
/// let samples = sample(&generator, &SampleRequest::map(50, 1, 0), &mut |_| true);
/// assert!(samples.items().all(|ids| Even.hold(ids)));
/// ```
pub trait Rules: Debug + Send + Sync {
    /// Whether an item keeps them. Sites that it lacks are [`ABSENT`](crate::node_pairs::ABSENT).
    fn hold(&self, ids: &[u32]) -> bool;

    /// Changes an item that does not keep them, to classes that are `open` at their sites. `law` has the probabilities of all classes, site by site.
    fn mend(&self, ids: &mut [u32], law: &[f64], open: &dyn Fn(usize, usize) -> bool);
}

impl Rules for StructuralZeros {
    fn hold(&self, ids: &[u32]) -> bool {
        self.is_usual(ids)
    }

    fn mend(&self, ids: &mut [u32], law: &[f64], open: &dyn Fn(usize, usize) -> bool) {
        StructuralZeros::mend(self, ids, law, open);
    }
}
