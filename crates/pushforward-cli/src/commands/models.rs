//! `pushforward models`

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use pushforward::flow_map::network::NetworkConfig;
use pushforward::hash;
use pushforward::metrics::report::Report;
use pushforward::run::{Stored, checkpoint_file, pack};
use pushforward::train::checkpoint::{RESUME, Resume, folder};

use crate::args::{ModelsAction, ModelsArgs, PackArgs};
use crate::download::Connection;
use crate::exit::{Failure, OrFail as _};
use crate::fetch::{fetch, is_present};
use crate::files::write_atomic;
use crate::interrupt::interrupted;
use crate::model_card::{Card, DESCRIPTION_KEY, LICENCE_KEY, MACHINE_KEY, MINUTES_KEY, REPORT_KEY, licence};
use crate::models::{self, EMBEDDED, FETCHED, ModelFile, file_of};
use crate::printer::Printer;
use crate::progress::DownloadBar;

pub(crate) fn run(args: &ModelsArgs, printer: Printer) -> Result<(), Failure> {
    match &args.action {
        None | Some(ModelsAction::List) => list(printer),
        Some(ModelsAction::Show { model }) => {
            let file = ModelFile::find(model, printer)?;
            let card = card(&model.display().to_string(), &file)?;
            printer.report(&card.json(), || card.markdown().trim_end().to_owned());
            Ok(())
        }
        Some(ModelsAction::Fetch { name }) => fetch_model(name, printer),
        Some(ModelsAction::Pack(args)) => pack_run(args, printer),
    }
}

fn card(name: &str, file: &ModelFile) -> Result<Card, Failure> {
    let (checkpoint, path) = file.checkpoint().or_request()?;
    let bytes = file.bytes().or_request()?;
    Card::of(name, &checkpoint, &path, bytes.len() as u64, hash::sha256([&bytes])).or_request()
}

fn list(printer: Printer) -> Result<(), Failure> {
    let folder = models::folder();
    let (mut lines, mut values) = (Vec::new(), Vec::new());
    for model in EMBEDDED {
        let card = card(model.name, &ModelFile::Embedded(model.name, model.bytes))?;
        lines.push(card.lines("in the program"));
        values.push(card.json());
    }
    for source in FETCHED {
        let file = &source.files[0];
        if is_present(source, &folder) {
            let card = card(source.name, &ModelFile::Path(file_of(source, &folder)))?;
            lines.push(card.lines("fetched"));
            values.push(card.json());
        } else {
            let bytes = file.bytes.unwrap_or_default();
            lines.push(format!(
                "{}  {}\n  not here yet: pushforward models fetch {} ({bytes} bytes); data: {}",
                source.name, source.title, source.name, source.licence
            ));
            values.push(serde_json::json!({"name": source.name, "bytes": bytes, "sha256": file.sha256, "here": false}));
        }
    }
    printer.report(&serde_json::json!({ "models": values }), || lines.join("\n\n"));
    Ok(())
}

fn fetch_model(name: &str, printer: Printer) -> Result<(), Failure> {
    if EMBEDDED.iter().any(|model| model.name == name) {
        printer.note(&format!("{name} is inside the program: nothing to fetch"));
        return Ok(());
    }
    let source = FETCHED.iter().find(|source| source.name == name).ok_or_else(|| {
        let names: Vec<&str> = FETCHED.iter().map(|source| source.name).collect();
        let known = if names.is_empty() { "all models of this version are inside it".into() } else { names.join(", ") };
        Failure::request(format!("there is no model `{name}` to fetch")).hint(format!("to fetch: {known}"))
    })?;
    let mut bar = DownloadBar::new(printer);
    let fetched = fetch(source, &models::folder(), &Connection::from_env(), &mut |p| {
        bar.update(p.file, p.received, p.total);
        if interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bar.finish();
    fetched.or_run()?.iter().for_each(|file| printer.result(&file.to_string()));
    Ok(())
}

fn pack_run(args: &PackArgs, printer: Printer) -> Result<(), Failure> {
    let name = args.out.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !name.ends_with(".safetensors.gz") {
        return Err(Failure::request(format!("{} does not end in .safetensors.gz", args.out.display()))
            .hint("the file is a compressed safetensors file"));
    }
    let (checkpoint, path) = ModelFile::Path(args.run.clone()).checkpoint().or_request()?;
    let stored = Stored::<NetworkConfig>::of(&checkpoint, &path).or_request()?;
    let licence = args.licence.clone().unwrap_or_else(|| licence(&stored.recipe.data).to_owned());
    let mut about = BTreeMap::from([(LICENCE_KEY.to_owned(), licence)]);
    about.extend(args.description.clone().map(|description| (DESCRIPTION_KEY.to_owned(), description)));
    let own = args.run.join("report.json");
    if let Some(path) = args.report.as_deref().or_else(|| own.is_file().then_some(own.as_path())) {
        about.insert(REPORT_KEY.into(), report(path)?);
    }
    if let Ok(resume) = Resume::load(&folder(&args.run).join(RESUME)) {
        about.insert(MINUTES_KEY.into(), format!("{:.1}", resume.elapsed_seconds / 60.0));
    }
    about.extend(args.machine.clone().map(|machine| (MACHINE_KEY.to_owned(), machine)));
    let bytes = pack::<NetworkConfig>(&args.run, args.numbers.into(), about).or_request()?;
    write_atomic(&args.out, &bytes).or_run()?;
    let before = std::fs::metadata(checkpoint_file(&args.run)).map_or(0, |file| file.len());
    printer.result(&args.out.display().to_string());
    printer.note(&format!("{} bytes, of {before}; sha256 {}", bytes.len(), hash::sha256([&bytes])));
    Ok(())
}

/// A report as it is kept in the file: one that can be read, without line breaks.
fn report(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::request(format!("{}: cannot read the report: {error}", path.display())))?;
    let report: Report = serde_json::from_str(&text)
        .map_err(|error| Failure::request(format!("{}: not a report of `eval`: {error}", path.display())))?;
    Ok(serde_json::to_string(&report).expect("a report can be serialised"))
}
