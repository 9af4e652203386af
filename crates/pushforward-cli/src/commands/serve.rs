//! `pushforward serve`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pushforward::run::{Recipe, Role};
use pushforward_server::{ServeError, Served, Settings, serve};

use super::load_model;
use crate::args::ServeArgs;
use crate::exit::{Failure, OrFail as _};
use crate::interrupt::interrupted;
use crate::models::EMBEDDED;
use crate::printer::Printer;
use crate::served_items::ServedItems;

/// Longest time limit in seconds.
const MOST_SECONDS: f64 = 3600.0;

pub(crate) fn run(args: &ServeArgs, printer: Printer) -> Result<(), Failure> {
    let token = args.token_file.as_deref().map(token).transpose()?;
    let paths: Vec<PathBuf> = match args.models.is_empty() {
        true => EMBEDDED.iter().map(|model| model.name.into()).collect(),
        false => args.models.clone(),
    };
    if paths.is_empty() {
        return Err(Failure::request("there is no model to serve").hint("give a run folder or a checkpoint"));
    }
    let mut models = Vec::new();
    for path in &paths {
        let loaded = load_model(path, false, &args.device, printer)?;
        let recipe: Recipe = Recipe::parse(&loaded.run.recipe, "recipe", &[]).or_request()?;
        let role = Role::of(&recipe.model);
        // A classifier that comes along judges samples and has none.
        if role != Role::Classifier || !args.models.is_empty() {
            models.push(Served { name: name(path), role, loaded });
        }
    }
    let settings = Settings {
        token,
        origin: args.allow_origin.clone(),
        queue: args.queue,
        batch: args.batch,
        time: Duration::from_secs_f64(args.time_limit.min(MOST_SECONDS)),
        ..Settings::new(args.addr)
    };
    if !printer.quiet {
        logs();
    }
    let names: Vec<String> = models.iter().map(|model| model.name.clone()).collect();
    let served = serve(models, Arc::new(ServedItems), settings, interrupted, |addr| {
        printer.result(&format!("serving {} on http://{addr}/", names.join(", ")));
    });
    served.map_err(|error| match error {
        ServeError::Runtime(_) => Failure::Run(error.into()),
        ServeError::NoToken(_) => Failure::Request(error.into()).hint("--token-file FILE, or --addr 127.0.0.1:8080"),
        _ => Failure::Request(error.into()),
    })
}

/// Name of a model in requests: that of its folder or file without ending.
fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.strip_suffix(".safetensors").unwrap_or(name).to_owned()
}

/// The first line of a file, without spaces around it.
fn token(path: &Path) -> Result<Vec<u8>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::request(format!("{}: cannot read the token: {error}", path.display())))?;
    Ok(text.lines().next().unwrap_or_default().trim().as_bytes().to_vec())
}

/// Logs of the server go to stderr, one line an event with its fields.
fn logs() {
    // A logger that is there already is used as it is.
    let _ = tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).with_ansi(false).try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_called_by_the_end_of_their_path() {
        for (path, wanted) in
            [("runs/mine", "mine"), ("glyphs", "glyphs"), ("a/b.safetensors", "b"), ("c.safetensors.gz", "c")]
        {
            assert_eq!(name(Path::new(path)), wanted);
        }
    }
}
