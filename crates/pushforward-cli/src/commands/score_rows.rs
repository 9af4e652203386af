//! Scores of rows of a table under a model that takes any subset of the columns.

use pushforward::data::tables::TableLayout;
use pushforward::metrics::bits_per_dim;
use pushforward::run::{Loaded, TrainedFlowMap, items};

use super::images::{TEST_ITEMS, in_batches_of};
use super::load_data;
use super::score::{Columns, Scores, told};
use crate::args::ScoreArgs;
use crate::exit::{Failure, OrFail as _};
use crate::item_files;
use crate::output;
use crate::printer::Printer;
use crate::ranks::join_numbers;
use crate::shards::part;

/// Noises over which the law of a column is averaged.
const NOISES: usize = 4;
/// Rows scored together.
const ROWS: usize = 512;

/// By the chain rule, one column after the other.
pub(super) fn score_rows(
    args: &ScoreArgs,
    loaded: &Loaded<TrainedFlowMap>,
    table: &TableLayout,
    printer: Printer,
) -> Result<Scores, Failure> {
    let schema = &loaded.run.schema;
    let (ids, lines): (_, Vec<String>) = match &args.file {
        Some(path) => {
            let (ids, lines) = item_files::rows(path, table, args.items.unwrap_or(usize::MAX))?;
            (ids, lines.into_iter().map(|line| format!("line {line}")).collect())
        }
        None => {
            let splits = load_data(&loaded.run, &args.data, printer)?;
            let ids = items(splits.test.as_ref(), args.items.unwrap_or(TEST_ITEMS));
            let names = output::lines(&ids, schema);
            (ids, names)
        }
    };
    let (draws, sites) = (args.draws.unwrap_or(NOISES), schema.sites);
    let (mut nats, mut bits) = (Vec::new(), Vec::new());
    let mut told = told(args, loaded)?;
    told.resize(sites, false);
    let left = told.iter().filter(|told| !**told).count();
    let of = ids.len() / sites;
    let items = part(args.shard, of, ROWS)?;
    in_batches_of(items.clone(), ROWS, printer, |range| {
        let part = &ids[range.start * sites..range.end * sites];
        let chain = loaded.model.chain_given(part, &told, draws, args.seed).or_request()?;
        nats.extend(chain.chunks(sites).map(|row| row.iter().sum::<f64>()));
        let surprise = loaded.model.surprise(part, draws, args.seed).or_request()?;
        bits.extend(surprise.into_iter().map(bits_per_dim::bits));
        Ok(())
    })?;
    join_numbers(&mut nats)?;
    join_numbers(&mut bits)?;
    let names = table.sites().map(|column| column.name().to_owned()).collect();
    Ok(Scores {
        sizes: vec![left; nats.len()],
        names: lines[items.clone()].to_vec(),
        items,
        of,
        nats,
        errors: None,
        columns: Some(Columns { names, bits }),
        estimator: format!("chain-{draws}"),
        meaning: format!(
            "-log p of the classes of the columns{}, one after the other; in brackets the columns that fit their row \
             least, in bits given all others",
            if left < sites { " given those that are told" } else { "" }
        ),
        unit: "bits/column",
        convert: bits_per_dim::bits_per_dim,
    })
}
