//! `pushforward score`

use std::path::Path;

use pushforward::data::idx::Idx;
use pushforward::data::{Layout, Schema};
use pushforward::eval::{bits_per_dim, interval};
use pushforward::evaluation::items;
use pushforward::flow_map::likelihood::BoundRequest;

use super::{load_data, load_model};
use crate::args::ScoreArgs;
use crate::exit::{Failure, OrFail as _};
use crate::interrupt::interrupted;
use crate::output;
use crate::printer::Printer;
use crate::progress::StageBar;

pub(crate) fn run(args: &ScoreArgs, printer: Printer) -> Result<(), Failure> {
    if args.items == 0 || args.draws == 0 {
        return Err(Failure::request("--items and --draws are at least 1"));
    }
    let loaded = load_model(&args.model, false, &args.device)?;
    let schema = &loaded.schema;
    let ids = match &args.file {
        Some(path) => read(path, schema, args.items)?,
        None => {
            let splits = load_data(&loaded.recipe.data, &args.data.folder(), loaded.recipe.seed)?;
            items(splits.test.as_ref(), args.items)
        }
    };
    let request = BoundRequest { draws: args.draws, seed: args.seed, batch: 256 };
    let mut bar = StageBar::new(printer);
    let (mut nats, total) = (Vec::new(), ids.len() / schema.sites);
    for part in ids.chunks(32 * schema.sites) {
        nats.extend(loaded.bound(part, nats.len() as u64, &request).or_request()?);
        bar.update("items", nats.len(), total);
        if interrupted() {
            return Err(Failure::Run(anyhow::anyhow!("interrupted after {} of {total} items", nats.len())));
        }
    }
    bar.finish();
    let mean = interval::mean(&nats);
    let (unit, per_site): (_, fn(f64, usize) -> f64) = match schema.layout {
        Layout::Text { .. } => ("bits/char", bits_per_dim::bits_per_character),
        Layout::Image { .. } | Layout::Table => ("bits/dim", bits_per_dim::bits_per_dim),
    };
    let bits = mean.map(|v| per_site(v, schema.sites));
    let value = serde_json::json!({
        "model": loaded.identity(),
        "estimator": format!("importance-r-{}", args.draws),
        "seed": args.seed,
        "mean": {"nats": mean.value, "nats_ci95": mean.ci95, "value": bits.value, "ci95": bits.ci95, "unit": unit},
        "items": nats.iter().map(|&n| serde_json::json!({"nats": n, "value": per_site(n, schema.sites)})).collect::<Vec<_>>(),
    });
    printer.report(&value, || {
        let texts = output::lines(&ids, schema);
        let mut text = String::new();
        for (i, n) in nats.iter().enumerate() {
            let item = match schema.layout {
                Layout::Image { .. } => format!("item {i}"),
                Layout::Text { .. } | Layout::Table => texts[i].clone(),
            };
            text += &format!("{:10.3} nats {:8.4} {unit}  {item}\n", n, per_site(*n, schema.sites));
        }
        let [low, high] = bits.ci95.unwrap_or([f64::NAN; 2]);
        text + &format!(
            "mean upper bound of -log p over {} items: {:.4} nats, {:.4} {unit} [{low:.4}, {high:.4}]",
            nats.len(),
            mean.value,
            bits.value
        )
    });
    Ok(())
}

/// Items of a file of the user's own.
fn read(path: &Path, schema: &Schema, most: usize) -> Result<Vec<u32>, Failure> {
    match &schema.layout {
        Layout::Text { vocabulary } => {
            let text =
                std::fs::read_to_string(path).map_err(|e| Failure::request(format!("{}: {e}", path.display())))?;
            let mut ids = Vec::new();
            for (number, line) in text.lines().filter(|l| !l.is_empty()).take(most).enumerate() {
                let item = vocabulary
                    .encode(line)
                    .map_err(|e| Failure::request(format!("{}, line {}: {e}", path.display(), number + 1)))?;
                if item.len() != schema.sites {
                    return Err(Failure::request(format!(
                        "{}, line {}: {} symbols, the model has {}",
                        path.display(),
                        number + 1,
                        item.len(),
                        schema.sites
                    )));
                }
                ids.extend(item);
            }
            if ids.is_empty() {
                return Err(Failure::request(format!("{} holds no items", path.display())));
            }
            Ok(ids)
        }
        Layout::Image { height, width } => {
            let file = Idx::read(path).or_request()?;
            let found = file.dims.get(1..).unwrap_or_default();
            if found != [*height, *width] {
                return Err(Failure::request(format!(
                    "{} holds images of shape {found:?}, the model has {height} x {width}",
                    path.display()
                )));
            }
            let levels = schema.classes as u32;
            let pixels = file.data.iter().take(most * height * width);
            Ok(pixels.map(|&v| (u32::from(v) * levels / 256).min(levels - 1)).collect())
        }
        Layout::Table => Err(Failure::request("items of a table are scored from the test split: leave DATA out")),
    }
}
