//! Conditions and guidance from the command line.

use pushforward::data::{Layout, Schema};
use pushforward::flow_map::constraint::Constraint;
use pushforward::flow_map::sample::{LabelChoice, ObservedRow};
use pushforward::run::{Loaded, RunInfo, TrainedFlowMap, WeightSet};

use crate::args::ConditionArgs;
use crate::constraints::{characters, spelled};
use crate::escapes::unescape;
use crate::exit::{Failure, OrFail as _};
use crate::models::ModelFile;
use crate::printer::Printer;

/// Says how sites that a constraint fixes reach the other sites.
pub(crate) fn say_fixed(model: &TrainedFlowMap, constraint: Option<&Constraint>, printer: Printer) {
    let fixed = constraint.map_or(0, |constraint| constraint.fixed().count());
    if fixed == 0 {
        return;
    }
    printer.note(&if model.config.condition.takes_any_subset() {
        format!("the model is told {fixed} of {} sites", model.schema.sites)
    } else {
        format!(
            "{fixed} sites are fixed by closing their other classes: this model was not trained to be told them, so with few \
             evaluations the other sites hardly depend on them (train with model.condition.kind = observed, or raise --nfe)"
        )
    });
}

/// What is given by `--label`: names or numbers of labels, or `none` where that is no name.
pub(crate) fn labels(args: &ConditionArgs, run: &RunInfo) -> Result<LabelChoice, Failure> {
    let names = run.label_names();
    if args.labels == ["none"] && !names.is_empty() && !names.iter().any(|name| name.eq_ignore_ascii_case("none")) {
        return Ok(LabelChoice::Hidden);
    }
    let alike = |text: &str| names.iter().position(|name| name.eq_ignore_ascii_case(text));
    let one = |text: &String| {
        let place = names.iter().position(|name| name == text.trim()).or_else(|| alike(text.trim()));
        // Where names are numbers other than those of the labels, a number is a name.
        let other = |(name, i): (&String, u32)| name.parse::<f64>().is_ok_and(|value| value != f64::from(i));
        let numbers = names.iter().zip(0..).any(other);
        let place = place.map(|place| place as u32).or_else(|| text.trim().parse().ok().filter(|_| !numbers));
        place.ok_or_else(|| {
            let known = names.iter().take(30).map(String::as_str).collect::<Vec<_>>().join(", ");
            let failure = Failure::request(format!("there is no label {text:?}"));
            if names.is_empty() { failure } else { failure.hint(format!("the labels are {known}")) }
        })
    };
    args.labels.iter().map(one).collect::<Result<Vec<u32>, Failure>>().map(LabelChoice::from)
}

/// Which sites of an item are told: numbers from 0, ranges with both ends, or names of columns.
pub(crate) fn told_sites(text: &str, schema: &Schema) -> Result<Vec<bool>, Failure> {
    let mut told = vec![false; schema.sites];
    for part in text.split(',').map(str::trim) {
        let column = |site: usize| match &schema.layout {
            Layout::Columns(table) => table.sites().nth(site).is_some_and(|column| column.name() == part),
            _ => false,
        };
        let (first, last) = part.split_once("..").unwrap_or((part, part));
        let range =
            first.trim().parse().ok().zip(last.trim().parse().ok()).map(|(first, last): (usize, usize)| first..=last);
        let named: Vec<usize> = (0..schema.sites).filter(|&site| column(site)).collect();
        let sites = match range {
            _ if !named.is_empty() => named,
            Some(range) if !range.is_empty() && *range.end() < schema.sites => range.collect(),
            _ => {
                let last = schema.sites - 1;
                let known = match &schema.layout {
                    Layout::Columns(table) => table.sites().map(|column| column.name()).collect::<Vec<_>>().join(", "),
                    _ => format!("a number, or a range such as 0..{last}, of sites 0 to {last}"),
                };
                return Err(Failure::request(format!("{part:?} is no site to tell")).hint(format!("known: {known}")));
            }
        };
        sites.into_iter().for_each(|site| told[site] = true);
    }
    if told.iter().all(|told| *told) {
        return Err(Failure::request("all sites are told, and nothing is left to score"));
    }
    Ok(told)
}

/// The sites of an item that begins with a text.
pub(crate) fn prefix(text: &str, schema: &Schema) -> Result<ObservedRow, Failure> {
    let told = match &schema.layout {
        Layout::Sequence(layout) => spelled(text, layout)?,
        _ => {
            let vocabulary = characters(schema)
                .ok_or_else(|| Failure::request("--prefix is for models of text by characters and of sequences"))?;
            vocabulary.encode(&unescape(text).map_err(Failure::request)?).or_request()?
        }
    };
    let sites = schema.sites;
    if told.len() > sites {
        return Err(Failure::request(format!("--prefix has {} characters, and items have {sites}", told.len())));
    }
    let mut row: ObservedRow = told.into_iter().map(Some).collect();
    row.resize(sites, None);
    Ok(row)
}

/// The model, with its guiding weaker model if one is given, and the sites of the prefix.
pub(crate) fn conditioned(
    args: &ConditionArgs,
    loaded: Loaded<TrainedFlowMap>,
    printer: Printer,
) -> Result<(Loaded<TrainedFlowMap>, Vec<ObservedRow>), Failure> {
    let prefix = match &args.prefix {
        Some(text) => vec![prefix(text, &loaded.run.schema)?],
        None => Vec::new(),
    };
    let Some(path) = &args.weak else { return Ok((loaded, prefix)) };
    if args.guidance == 1.0 {
        return Err(Failure::request("--weak does nothing at --guidance 1: set it above 1"));
    }
    let weak = ModelFile::find(path, printer)?.load(WeightSet::Ema, &loaded.model.device).or_request()?;
    let weak = weak.flow_map("guide another model").or_request()?;
    Ok((loaded.guided_by(weak).or_request()?, prefix))
}
