//! `pushforward data`

use std::ops::ControlFlow;
use std::path::Path;

use pushforward::data::{DataConfig, Layout, Splits};
use pushforward::evaluation::items;

use crate::args::{DataAction, DataArgs};
use crate::exit::{Failure, OrFail as _};
use crate::fetch::{fetch, is_present};
use crate::interrupt::interrupted;
use crate::output;
use crate::printer::Printer;
use crate::progress::DownloadBar;
use crate::{download, sources};

/// The sets that the program makes itself.
const EMBEDDED: [(&str, &str); 4] = [
    ("glyphs", "binary images 16 x 16 of drawn digits"),
    ("echo", "four letters over eight symbols, then the same four again"),
    ("sums", "additions with their sums"),
    ("checker", "a correlated pair of variables of 16 classes"),
];

pub(crate) fn run(args: &DataArgs, printer: Printer) -> Result<(), Failure> {
    match &args.action {
        DataAction::List(data) => {
            let folder = data.folder();
            for (name, what) in EMBEDDED {
                printer.result(&format!("{name:<16}made here  {what}"));
            }
            for source in sources::SOURCES {
                let state = if is_present(source, &folder) { "present" } else { "absent" };
                printer.result(&format!("{:<16}{state:<11}{} ({})", source.name, source.title, source.licence));
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
    let text = if Path::new(name).is_file() {
        format!("set = \"text\"\nlength = 64\npath = {}", toml::Value::String(name.to_owned()))
    } else {
        format!("set = {}", toml::Value::String(name.to_owned()))
    };
    let config: DataConfig = toml::from_str(&text).map_err(|e| {
        Failure::request(format!("there is no data set or file `{name}`: {}", e.message()))
            .hint("`pushforward data list` shows the sets")
    })?;
    let splits = config.load(folder, 0).or_request()?;
    printer.result(&describe(&splits));
    let ids = items(splits.train.as_ref(), 8);
    printer.result(&output::sketch(&ids, splits.schema()));
    Ok(())
}

fn describe(splits: &Splits) -> String {
    let schema = splits.schema();
    let layout = match &schema.layout {
        Layout::Text { .. } => "text".to_owned(),
        Layout::Image { height, width } => format!("image {height} x {width}"),
        Layout::Table => "table".to_owned(),
    };
    format!(
        "{}: {layout}, {} sites of {} classes\ntraining {}, validation {}, test {} items\nsha256 {}",
        splits.name,
        schema.sites,
        schema.classes,
        splits.train.len(),
        splits.validation.len(),
        splits.test.len(),
        splits.sha256
    )
}
