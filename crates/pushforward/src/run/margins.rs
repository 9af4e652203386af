//! Margins of the samples of a trained flow map, kept in its checkpoint.

use std::path::Path;

use crate::data::tables::TableColumn;
use crate::data::{Dataset, Layout};
use crate::flow_map::backbone::BackboneConfig;
use crate::flow_map::margins::{Margins, apart, counts, decide, fit};
use crate::flow_map::sample::{LabelChoice, LastStep, Rules, SampleRequest, Sampler};
use crate::node_pairs::ABSENT;
use crate::run::calibrate::keep;
use crate::run::check::site_shape;
use crate::run::held_out::items;
use crate::run::stored::{LoadError, MARGINS_KEY};
use crate::run::trained::rules::rules;
use crate::run::trained::{RequestError, TrainedFlowMap};

/// Most items that factors are fitted on, fewest of other data than tables, and most numbers of their endpoints.
const ROWS: usize = 16_384;
const FEWEST: usize = 1024;
const NUMBERS: usize = 1 << 25;
/// Training items whose classes are counted.
const COUNTED: usize = 1 << 16;
/// Fits where rules move margins again.
const ROUNDS: usize = 4;

/// Margins of samples by one number of jumps.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedMargins {
    /// Number of jumps.
    pub steps: usize,
    /// Items that they are from.
    pub rows: usize,
    /// Mean over sites of the total variation between the classes of samples and those of the training items.
    pub before: f64,
    /// The same with the factors.
    pub after: f64,
}

impl<C: BackboneConfig> TrainedFlowMap<C> {
    /// Fits the [margins](crate::flow_map::margins) of each number of jumps in `steps`, and keeps them for
    /// [samples](TrainedFlowMap::sample) that are told nothing. The counts of classes are those of the dictionary of a table, for which no
    /// data are needed, else those of up to 65,536 items of `train`. `progress` is called with the items so far, and ends the work by
    /// returning false; nothing is kept then.
    ///
    /// # Errors
    /// If data are needed that are not there or not of the model, if their items are so large that fewer than 1,024 would be drawn, or if the
    /// model cannot draw samples by default.
    ///
    /// # Examples
    /// ```
    /// use pushforward::burn::tensor::Device;
    /// use pushforward::data::DataConfig;
    /// use pushforward::flow_map::{config::FlowMapConfig, network::NetworkConfig, sample::SampleRequest};
    /// use pushforward::rng::{Purpose, stream};
    /// use pushforward::run::{TrainedFlowMap, site_shape};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let rows: String = (0..400).map(|i| format!("{},{}\n", ["a", "b", "c"][(i % 10) / 4], i % 3)).collect();
    /// std::fs::write(dir.path().join("t.csv"), format!("letter,number\n{rows}"))?;
    /// let data: DataConfig = toml::from_str("set = 'table'\npath = 't.csv'")?;
    /// let (schema, device) = (data.load(dir.path(), 0)?.schema().clone(), Device::flex());
    /// let config: FlowMapConfig<NetworkConfig> = toml::from_str("network = { kind = 'mlp', width = 8, skip = true }")?;
    /// let net = config.model(None).init(site_shape(&schema), &device, &mut stream(0, Purpose::Init, 0));
    /// let mut model = TrainedFlowMap::new(config, net, schema, &device);
    /// let fitted = model.fit_margins(None, &[2], 0, &mut |_| true)?;
    /// assert!(fitted[0].after <= fitted[0].before && model.margins.of(2).is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fit_margins(
        &mut self,
        train: Option<&dyn Dataset>,
        steps: &[usize],
        seed: u64,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<FittedMargins>, RequestError> {
        let shares = match &self.schema.layout {
            Layout::Columns(table) => table.sites().map(TableColumn::shares).collect(),
            _ => self.shares_of(train)?,
        };
        let classes = self.schema.classes;
        let rows = (NUMBERS / (shares.len() * classes)).clamp(1, ROWS);
        if rows < FEWEST && !matches!(self.schema.layout, Layout::Columns(_)) {
            let sites = shares.len();
            let problem =
                format!("margins of {sites} sites of {classes} classes would be those of {rows} items, too few");
            return Err(RequestError(problem));
        }
        let (mut found, mut drawn) = (Vec::new(), 0);
        for &steps in steps {
            let mut goes_on = true;
            let mut tell = |done: usize| {
                goes_on = progress(drawn + done);
                goes_on
            };
            let request = SampleRequest::map(rows, steps, seed);
            let rules = rules(&self.schema, &request);
            let mut samples = self.sample(&request, &mut tell)?;
            if !goes_on {
                return Ok(Vec::new());
            }
            drawn += rows;
            let absent = |at: usize| samples.ids[at] == ABSENT;
            let laws = samples.endpoints.chunks_mut(classes).enumerate().filter(|&(at, _)| absent(at));
            laws.for_each(|(_, law)| law.fill(0.0));
            let decided = |factors: &[Vec<f64>]| {
                let mut ids = decide(&samples.endpoints, classes, factors);
                ids.iter_mut().enumerate().filter(|&(at, _)| absent(at)).for_each(|(_, id)| *id = ABSENT);
                if let Some(rules) = &rules {
                    mend(&mut ids, &samples.endpoints, factors, rules.as_ref());
                }
                counts(&ids, &shares)
            };
            let ones: Vec<Vec<f64>> = shares.iter().map(|shares| vec![1.0; shares.len()]).collect();
            let before = apart(&decided(&ones), &shares);
            let (mut wanted, mut best) = (shares.clone(), (before, ones));
            // Items that are mended move the margins again, so that others are asked for.
            for _ in 0..if rules.is_none() { 1 } else { ROUNDS } {
                let factors = fit(&samples.endpoints, classes, &wanted);
                let now = decided(&factors);
                let after = apart(&now, &shares);
                if after < best.0 {
                    best = (after, factors);
                }
                for ((wanted, now), shares) in wanted.iter_mut().zip(&now).zip(&shares) {
                    for ((wanted, now), share) in wanted.iter_mut().zip(now).zip(shares) {
                        *wanted *= (share * rows as f64 + 0.5) / (now + 0.5);
                    }
                }
            }
            found.push((FittedMargins { steps, rows, before, after: best.0 }, best.1));
        }
        let keep = |(fitted, factors): (FittedMargins, _)| {
            self.margins.keep(fitted.steps, factors);
            fitted
        };
        Ok(found.into_iter().map(keep).collect())
    }

    /// How often the training items have each class, site by site.
    fn shares_of(&self, train: Option<&dyn Dataset>) -> Result<Vec<Vec<f64>>, RequestError> {
        let Some(train) = train else {
            return Err(RequestError("margins of data other than tables are counted in the training data".into()));
        };
        if *train.schema() != self.schema {
            return Err(RequestError("the data that margins are counted in are not those of the model".into()));
        }
        let sites = site_shape(&self.schema);
        let none: Vec<Vec<f64>> = (0..sites.count).map(|site| vec![0.0; sites.classes_of(site)]).collect();
        Ok(counts(&items(train, COUNTED), &none))
    }

    /// The factors of the last decision of a request: those kept for as many jumps, where nothing is told of its items.
    pub(in crate::run) fn factors_of(&self, request: &SampleRequest) -> Option<&[Vec<f64>]> {
        let plain = request.kept
            && request.sampler == Sampler::Map
            && request.last == LastStep::Argmax
            && (request.temperature, request.guidance) == (1.0, 1.0)
            && (self.net.label_count().is_none() || matches!(request.labels, LabelChoice::Drawn(_)))
            && request.observed.is_empty()
            && request.constraint.is_none();
        self.margins.of(request.grid.steps()).filter(|_| plain)
    }
}

/// Mends items for which the rules do not hold, as samples are.
fn mend(ids: &mut [u32], endpoints: &[f32], factors: &[Vec<f64>], rules: &dyn Rules) {
    let sites = factors.len();
    let numbers = endpoints.len() / (ids.len() / sites).max(1);
    let classes = numbers / sites;
    for (item, end) in ids.chunks_mut(sites).zip(endpoints.chunks(numbers)) {
        if !rules.hold(item) {
            let factor = |at: usize| factors[at / classes].get(at % classes).copied().unwrap_or(0.0);
            let law: Vec<f64> = end.iter().enumerate().map(|(at, &p)| f64::from(p) * factor(at)).collect();
            rules.mend(item, &law, &|site, class| class < factors[site].len());
        }
    }
}

/// Adds the margins of a model to its checkpoint.
///
/// # Errors
/// As [`keep_calibration`](crate::run::keep_calibration).
pub fn keep_margins(margins: &Margins, path: &Path) -> Result<(), LoadError> {
    keep(MARGINS_KEY, serde_json::to_string(margins).expect("factors are numbers"), path)
}
