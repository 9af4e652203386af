//! Metrics of rows of tables: closeness to the training rows, use for training on, and privacy.
//!
//! Where what is missing in the data is a hole, samples have every value: each is scored without those that a random training row has
//! not, as if cells were missing by chance.
//!
//! Every score comes with two references: *held-out* rows in the place of samples, which a perfect generator would reach,
//! and rows whose columns are drawn *independently* of each other, which any generator should beat.

use std::sync::Arc;

use crate::data::tables::{ColumnKind, TableConfig, TableLayout};
use crate::data::{Dataset, ExampleKey, Splits};
use crate::flow_map::sample::Samples;
use crate::metrics::report::Row;
use crate::metrics::tables::{
    Column, Columns, c2st_logistic, coverage, dcr_share, independent, membership_auc, missing_tv, shape, trend, wnmis,
};
#[cfg(feature = "trees")]
use crate::metrics::tables::{Utility, c2st_trees, tstr};
use crate::node_pairs::ABSENT;
use crate::rng::{Purpose, Stream, stream};
use crate::run::evaluate::metrics::SampleMetrics;

/// Rows of each kind for scores that compare every row with every other.
const NEAREST: usize = 4000;
/// Training rows that samples are compared with.
const COMPARED: usize = 50_000;

/// The rows that samples are compared with.
pub(super) struct TableMetrics {
    layout: TableLayout,
    train: Columns,
    test: Columns,
    /// The column that models trained on samples predict.
    #[cfg_attr(not(feature = "trees"), allow(dead_code, reason = "only trees predict"))]
    target: usize,
    sha256: String,
}

impl SampleMetrics for TableMetrics {
    fn rows(&self, samples: &Samples, _: &[u32]) -> Vec<Row> {
        let mut rows = columns(&self.layout, &samples.ids, |_, _| None);
        if self.layout.has_holes() && self.train.rows() > 0 {
            rows = rows.with_holes_of(&self.train, &mut draws(6));
        }
        self.scores(&rows, "train")
    }

    fn held_out(&self, n: usize) -> Vec<Row> {
        let mut rows: Vec<Row> = self.scores(&self.test, "held-out");
        #[cfg(feature = "trees")]
        rows.push(utility(tstr(&self.train, &self.test, self.target)).reference("train-on-real", &self.sha256));
        rows = rows.into_iter().map(|row| row.n(self.test.rows())).collect();
        let count = n.min(self.train.rows());
        let baseline = independent(&self.train, count, &mut draws(0));
        let baseline = self.scores(&baseline, "independent").into_iter();
        rows.extend(baseline.map(|row| Row { sampler: Some("independent columns".into()), ..row.n(count) }));
        rows
    }
}

impl TableMetrics {
    pub(super) fn new(config: &TableConfig, layout: &TableLayout, splits: &Splits) -> Self {
        let part = |set: &Arc<dyn Dataset>| {
            let (sites, count) = (set.schema().sites, set.len().min(COMPARED));
            let mut ids = vec![0; count * sites];
            ids.chunks_mut(sites).enumerate().for_each(|(i, row)| set.write(ExampleKey::fixed(0, i), row));
            columns(layout, &ids, |row, site| set.number(row, site))
        };
        let last = layout.sites().count() - 1;
        let target = config.target.as_ref().and_then(|name| layout.site(name).ok()).unwrap_or(last);
        let (train, test) = (part(&splits.train), part(&splits.test));
        Self { layout: layout.clone(), train, test, target, sha256: splits.sha256.clone() }
    }

    /// The scores of rows in the place of samples.
    fn scores(&self, rows: &Columns, reference: &str) -> Vec<Row> {
        let score = |name: &str, value: f64| Row::new(name, "score", value);
        let train = &self.train;
        // As many real rows as others, so that half of the rows are real.
        let chosen: Vec<usize> = {
            let mut order: Vec<u32> = (0..train.rows() as u32).collect();
            draws(1).shuffle(&mut order);
            order.truncate(rows.rows());
            order.into_iter().map(|row| row as usize).collect()
        };
        let real = train.select(&chosen);
        let near = coverage(train, rows, NEAREST, &mut draws(2));
        let mut found = vec![
            score("shape", shape(train, rows).mean),
            score("trend", trend(train, rows).mean),
            score("wnmis", wnmis(train, rows)),
            score("c2st_logistic", c2st_logistic(&real, rows, &mut draws(3))),
        ];
        #[cfg(feature = "trees")]
        found.push(score("c2st_trees", c2st_trees(&real, rows, &mut draws(3))));
        found.push(score("alpha_precision", near.alpha_precision));
        found.push(score("beta_recall", near.beta_recall));
        if reference != "held-out" {
            #[cfg(feature = "trees")]
            found.push(utility(tstr(rows, &self.test, self.target)));
            let share = dcr_share(train, &self.test, rows, NEAREST, &mut draws(4));
            found.push(Row::estimate("dcr_share", "fraction", share));
            found.push(score("membership_auc", membership_auc(train, &self.test, rows, NEAREST, &mut draws(5))));
        }
        found.push(score("missing_tv", missing_tv(train, rows)));
        found.into_iter().map(|row| row.reference(reference, &self.sha256)).collect()
    }
}

fn draws(index: u64) -> Stream {
    stream(0, Purpose::Metric, index)
}

#[cfg(feature = "trees")]
fn utility(found: Utility) -> Row {
    match found {
        Utility::Auc(value) => Row::new("tstr_auc", "score", value),
        Utility::Rmse(value) => Row::new("tstr_rmse", "units of the column", value),
    }
}

/// Class indices as columns of values. `known` gives the number of a row at a site, where it is known better than by its
/// class; other numbers in bins are drawn.
fn columns(layout: &TableLayout, ids: &[u32], known: impl Fn(usize, usize) -> Option<f64>) -> Columns {
    let sites: Vec<_> = layout.sites().collect();
    let mut columns: Vec<Column> = sites
        .iter()
        .map(|column| match column.kind() {
            ColumnKind::Integer | ColumnKind::Number | ColumnKind::Date => Column::Numbers(Vec::new()),
            _ => {
                // A class for holes, which is none of the model.
                let hole = layout.has_holes().then_some(column.classes() as u32);
                let classes = column.classes() + usize::from(hole.is_some());
                Column::Categories { ids: Vec::new(), classes, missing: column.missing_class().or(hole) }
            }
        })
        .collect();
    for (row, item) in ids.chunks(sites.len()).enumerate() {
        let fields = layout.decode_sites(item, &mut stream(0, Purpose::Decode, row as u64));
        for (site, column) in columns.iter_mut().enumerate() {
            match column {
                Column::Numbers(values) => values.push(
                    known(row, site).unwrap_or_else(|| layout.number_of(site, &fields[site]).unwrap_or(f64::NAN)),
                ),
                Column::Categories { ids, missing, .. } => {
                    ids.push(if item[site] == ABSENT { missing.expect("holes have a class") } else { item[site] })
                }
            }
        }
    }
    Columns::new(sites.iter().map(|column| column.name().to_owned()).zip(columns).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataConfig, Layout};
    use crate::run::check::site_shape;

    #[test]
    fn training_rows_score_as_well_as_held_out_ones_and_independent_columns_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut draw = stream(0, Purpose::Synthesis, 0);
        let mut text = "size,kind,weight\n".to_owned();
        for _ in 0..2000 {
            let kind = draw.below(3);
            let size = kind * 10 + draw.below(5);
            text += &format!("{size},{},{:.2}\n", ["a", "b", "c"][kind], size as f64 + draw.uniform());
        }
        std::fs::write(folder.path().join("t.csv"), text).unwrap();
        let config: DataConfig = toml::from_str("set = 'table'\npath = 't.csv'\ntarget = 'kind'").unwrap();
        let splits = config.load(folder.path(), 0).unwrap();
        let (DataConfig::Table(config), Layout::Columns(layout)) = (&config, &splits.schema().layout) else {
            panic!("a table")
        };
        let metrics = TableMetrics::new(config, layout, &splits);
        let rows = metrics.held_out(500);
        let value = |name: &str, sampler: Option<&str>| {
            let found = rows.iter().find(|row| row.metric == name && row.sampler.as_deref() == sampler);
            found.unwrap_or_else(|| panic!("{name} {sampler:?}")).value
        };
        assert!(value("trend", None) > 0.93 && value("trend", Some("independent columns")) < 0.8);
        assert!(value("wnmis", None) > 0.9 && value("wnmis", Some("independent columns")) < 0.5);
        let ids = crate::run::held_out::items(splits.train.as_ref(), 500);
        let samples = Samples { ids, endpoints: Vec::new(), sites: site_shape(splits.schema()), nfe: vec![1; 500] };
        let own = metrics.rows(&samples, &[]);
        let of = |name: &str| own.iter().find(|row| row.metric == name).unwrap().value;
        assert!(of("shape") > 0.95 && of("trend") > 0.95 && of("missing_tv") == 0.0);
        // Copies of training rows are nearer to these than to others.
        assert!(of("dcr_share") > 0.54 && of("membership_auc") > 0.54, "{} {}", of("dcr_share"), of("membership_auc"));
        #[cfg(feature = "trees")]
        assert!(
            of("tstr_auc") > 0.95 && of("c2st_trees") > 0.8 && value("c2st_trees", Some("independent columns")) < 0.3
        );
    }
}
