//! `pushforward data`

use std::ops::ControlFlow;
use std::path::Path;

use pushforward::data::graph::{GraphLayout, NodeClass};
use pushforward::data::images::pictures;
use pushforward::data::{DataConfig, Layout, RawImages, Schema};
use pushforward::run::items;

use crate::args::{DataAction, DataArgs};
use crate::exit::{Failure, OrFail as _};
use crate::fetch::{fetch, is_present};
use crate::interrupt::interrupted;
use crate::picture::Tile;
use crate::printer::Printer;
use crate::progress::DownloadBar;
use crate::{download, output, sources};

/// The sets that the program makes itself.
const EMBEDDED: [(&str, &str); 5] = [
    ("glyphs", "binary images 16 x 16 of drawn digits"),
    ("echo", "four letters over eight symbols, then the same four again"),
    ("sums", "additions with their sums"),
    ("checker", "a correlated pair of variables of 16 classes"),
    ("small-molecules", "every molecule of up to 5 atoms of C N O F"),
];

/// The sets that are files of the user.
const OWN: [(&str, &str); 3] = [
    ("text", "any UTF-8 text file, by characters or by a tokenizer"),
    ("image-folder", "the PNG and JPEG files of a folder, grey or in colour"),
    ("molecules", "any .smi file, or table with a column of SMILES"),
];

/// Items that `data info` shows.
const SHOWN: usize = 8;

pub(crate) fn run(args: &DataArgs, printer: Printer) -> Result<(), Failure> {
    match &args.action {
        DataAction::List(data) => {
            let folder = data.folder();
            for (name, what) in EMBEDDED {
                printer.result(&format!("{name:<16}made here  {what}"));
            }
            for source in sources::SOURCES {
                // Some sets go by several names of files.
                let several = |config: &DataConfig| matches!(config, DataConfig::Qm9(_) | DataConfig::Zinc250k(_));
                let config = toml::from_str::<DataConfig>(&format!("set = \"{}\"", source.name));
                let here = is_present(source, &folder)
                    || config.is_ok_and(|config| several(&config) && config.is_here(&folder));
                let state = if here { "present" } else { "absent" };
                printer.result(&format!("{:<16}{state:<11}{} ({})", source.name, source.title, source.licence));
            }
            for (name, what) in OWN {
                printer.result(&format!("{name:<16}your files {what}"));
            }
            printer.note(&format!("data folder: {}", folder.display()));
            Ok(())
        }
        DataAction::Fetch { name, data } => {
            if EMBEDDED.iter().any(|(n, _)| n == name) {
                printer.note(&format!("{name} is made by the program itself: nothing to fetch"));
                return Ok(());
            }
            let source = sources::find(name).ok_or_else(|| {
                Failure::request(format!("there is no data set `{name}`"))
                    .hint(format!("the sets are {}", sources::names()))
            })?;
            let mut bar = DownloadBar::new(printer);
            let connection = download::Connection::from_env();
            let fetched = fetch(source, &data.folder(), &connection, &mut |p| {
                bar.update(p.file, p.received, p.total);
                if interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            bar.finish();
            for file in fetched.or_run()? {
                printer.result(&file.to_string());
            }
            Ok(())
        }
        DataAction::Info { name, data } => info(name, &data.folder(), printer),
    }
}

fn info(name: &str, folder: &Path, printer: Printer) -> Result<(), Failure> {
    let path = Path::new(name);
    let lower = name.to_lowercase();
    let plain = lower.strip_suffix(".gz").unwrap_or(&lower);
    let text = if path.is_file() && [".smi", ".smiles", ".csv"].iter().any(|ending| plain.ends_with(ending)) {
        format!("set = \"molecules\"\npath = {}", toml::Value::String(name.to_owned()))
    } else if path.is_file() && !pictures::is_picture(path) {
        format!("set = \"text\"\nlength = 64\npath = {}", toml::Value::String(name.to_owned()))
    } else {
        format!("set = {}", toml::Value::String(name.to_owned()))
    };
    let config: DataConfig = match toml::from_str(&text) {
        Ok(config) => config,
        // A set's name goes before a folder that happens to have it.
        Err(_) if path.exists() => return survey(path, printer),
        Err(e) => {
            let problem = format!("there is no data set, file or folder `{name}`: {}", e.message());
            return Err(Failure::request(problem).hint("`pushforward data list` shows the sets"));
        }
    };
    if let DataConfig::Cifar10(_) = config {
        let raw = config.raw(folder, 0).or_request()?;
        let what = kind(&raw.train);
        printer.result(&describe(
            &raw.name,
            &what,
            [&raw.train, &raw.validation, &raw.test].map(|p| p.count),
            &raw.sha256,
        ));
        let tile = |index| Tile::planes(raw.train.shape(), raw.train.image(index));
        printer.result(&output::sketch_tiles(&(0..SHOWN.min(raw.train.count)).map(tile).collect::<Vec<_>>()));
        return Ok(());
    }
    let splits = config.load(folder, 0).or_request()?;
    let what = layout(splits.schema());
    let counts = [&splits.train, &splits.validation, &splits.test].map(|part| part.len());
    printer.result(&describe(&splits.name, &what, counts, &splits.sha256));
    if let Layout::Graph(graph) = &splits.schema().layout {
        printer.result(&molecules(graph, counts.iter().sum(), &splits.refused));
    }
    let ids = items(splits.train.as_ref(), SHOWN);
    printer.result(&output::sketch(&ids, splits.schema()));
    Ok(())
}

/// Pictures that are no data set yet: what there is, and how a recipe would name them.
fn survey(path: &Path, printer: Printer) -> Result<(), Failure> {
    let kinds = pictures::survey(path).or_request()?;
    let count: usize = kinds.iter().map(|(_, count)| count).sum();
    printer.result(&format!("{}: {count} picture{}", path.display(), if count == 1 { "" } else { "s" }));
    for (kind, count) in kinds.iter().take(SHOWN) {
        printer.result(&format!("{count:>9}  {kind}"));
    }
    if let Some(others @ 1..) = kinds.len().checked_sub(SHOWN) {
        printer
            .result(&format!("{:>9}  of {others} other kinds", kinds[SHOWN..].iter().map(|(_, n)| n).sum::<usize>()));
    }
    if path.is_dir() {
        let path = toml::Value::String(path.display().to_string());
        printer.note(&format!("in a recipe: data = {{ set = \"image-folder\", path = {path}, size = [64, 64] }}"));
    }
    Ok(())
}

fn kind(images: &RawImages) -> String {
    let [channels, height, width] = images.shape();
    let kind = if channels == 1 { "grey" } else { "colour" };
    format!("{kind} image {height} x {width}, {} values", channels * height * width)
}

fn layout(schema: &Schema) -> String {
    let layout = match &schema.layout {
        Layout::Text { .. } => "text".to_owned(),
        Layout::Image { height, width } => format!("image {height} x {width}"),
        Layout::Table => "table".to_owned(),
        Layout::Graph(graph) => format!("graph of up to {} nodes", graph.nodes),
    };
    format!("{layout}, {} sites of {} classes", schema.sites, schema.classes)
}

/// Accepted and refused molecules, kinds of atoms, and sizes.
fn molecules(graph: &GraphLayout, accepted: usize, refused: &[(String, u64)]) -> String {
    let others: u64 = refused.iter().map(|(_, count)| count).sum();
    let all = accepted as u64 + others;
    let mut lines =
        vec![format!("accepted {accepted} of {all} ({:.2} %)", 100.0 * accepted as f64 / all.max(1) as f64)];
    lines.extend(refused.iter().map(|(reason, count)| format!("refused {count:>8}  {reason}")));
    let class = |c: &NodeClass| match c.charge {
        0 => c.element.clone(),
        charge => format!("{}{charge:+}", c.element),
    };
    lines.push(format!("atoms {}", graph.node_classes.iter().map(class).collect::<Vec<_>>().join(" ")));
    let sizes = graph.sizes.iter().enumerate().filter(|(_, count)| **count > 0);
    let sizes: Vec<String> = sizes.map(|(size, count)| format!("{size}: {count}")).collect();
    lines.push(format!("training molecules by number of atoms: {}", sizes.join(", ")));
    lines.join("\n")
}

fn describe(name: &str, what: &str, [training, validation, test]: [usize; 3], sha256: &str) -> String {
    format!("{name}: {what}\ntraining {training}, validation {validation}, test {test} items\nsha256 {sha256}")
}
