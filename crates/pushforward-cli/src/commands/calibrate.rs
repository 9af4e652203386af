//! `pushforward calibrate`

use pushforward::data::Layout;
use pushforward::run::{Loaded, RequestError, TrainedFlowMap, items, keep_calibration, keep_grids, keep_margins};

use super::{load_data, load_model};
use crate::args::CalibrateArgs;
use crate::exit::{Failure, OrFail as _};
use crate::interrupt::interrupted;
use crate::models::ModelFile;
use crate::printer::Printer;
use crate::progress::StageBar;

/// Held-out items whose bound is printed before and after.
const SHOWN: usize = 128;

pub(crate) fn run(args: &CalibrateArgs, printer: Printer) -> Result<(), Failure> {
    ModelFile::find(&args.model, printer)?;
    if !args.model.exists() {
        let name = args.model.display();
        return Err(Failure::request(format!(
            "{name} comes with the program, which knows its bytes: it cannot be changed"
        ))
        .hint("calibrate a run folder, a checkpoint, or a file that `models pack` wrote"));
    }
    let mut loaded = load_model(&args.model, false, &args.device, printer)?.flow_map("be calibrated").or_request()?;
    if !args.grids.is_empty() {
        return grids(args, loaded, printer);
    }
    if !args.margins.is_empty() {
        return margins(args, loaded, printer);
    }
    let data = load_data(&loaded.run, &args.data, printer)?;
    let held_out = items(data.test.as_ref(), SHOWN);
    let sites = loaded.model.schema.sites;
    let request = Default::default();
    let bits = |model: &TrainedFlowMap| -> Result<f64, Failure> {
        let nats = model.bound(&held_out, 0, &request).or_request()?.values;
        Ok(nats.iter().sum::<f64>() / (nats.len() * sites) as f64 / std::f64::consts::LN_2)
    };
    if held_out.is_empty() {
        return Err(Failure::request("the test part of the data is empty, so that nothing can be said of the bound"));
    }
    loaded.model.calibration = None;
    let before = bits(&loaded.model)?;
    loaded.model.calibrate(data.validation.as_ref(), args.seed);
    let Some(calibration) = &loaded.model.calibration else {
        return Err(Failure::request("there are no held-out items to calibrate on, or they are too large"));
    };
    let after = bits(&loaded.model)?;
    keep_calibration(calibration, &loaded.run.path).or_run()?;
    printer.result(&format!(
        "bound of {} test items: {before:.4} bits a site before, {after:.4} after",
        held_out.len() / sites
    ));
    printer.result(&loaded.run.path.display().to_string());
    Ok(())
}

/// Chooses the times of jumps.
fn grids(args: &CalibrateArgs, mut loaded: Loaded<TrainedFlowMap>, printer: Printer) -> Result<(), Failure> {
    // A file that cannot keep them is refused before the search.
    keep_grids(&loaded.model.grids, &loaded.run.path).or_run()?;
    let mut bar = StageBar::new(printer);
    // How many there will be is not known: a search of n times asks for about 12 n costs of n evaluations each.
    let expected = args.grids.iter().fold(63, |sum, n| sum + 12 * n * n);
    let fitted = loaded.model.fit_grids(&args.grids, args.items, args.seed, &mut |spent| {
        bar.update("evaluations", spent.min(expected), expected);
        !interrupted()
    });
    bar.finish();
    let fitted = whole(fitted)?;
    keep_grids(&loaded.model.grids, &loaded.run.path).or_run()?;
    if !loaded.model.margins.is_empty() {
        // Those of other times were left out.
        keep_margins(&loaded.model.margins, &loaded.run.path).or_run()?;
    }
    for one in fitted {
        let times: Vec<String> = one.grid.times().iter().map(f64::to_string).collect();
        printer.result(&format!(
            "{} evaluations at {}: {:.2} % of sites as along the differential equation, {:.2} % by equal steps",
            one.grid.steps(),
            times.join(", "),
            100.0 * one.fitted,
            100.0 * one.equal
        ));
    }
    printer.result(&loaded.run.path.display().to_string());
    Ok(())
}

/// Rakes the classes of samples to those of the training items.
fn margins(args: &CalibrateArgs, mut loaded: Loaded<TrainedFlowMap>, printer: Printer) -> Result<(), Failure> {
    // The dictionary of a table has the counts.
    let counted = !matches!(loaded.model.schema.layout, Layout::Columns(_));
    let data = if counted { Some(load_data(&loaded.run, &args.data, printer)?) } else { None };
    let train = data.as_ref().map(|splits| splits.train.as_ref());
    let mut bar = StageBar::new(printer);
    // Data of very many classes take fewer items.
    let expected = args.margins.len() << 14;
    let fitted = loaded.model.fit_margins(train, &args.margins, args.seed, &mut |rows| {
        bar.update("items", rows, expected);
        !interrupted()
    });
    bar.finish();
    let fitted = whole(fitted)?;
    keep_margins(&loaded.model.margins, &loaded.run.path).or_run()?;
    for one in fitted {
        printer.result(&format!(
            "{} evaluations: sites of {} items are {:.4} from the training items before, {:.4} after (total variation)",
            one.steps, one.rows, one.before, one.after
        ));
    }
    printer.result(&loaded.run.path.display().to_string());
    Ok(())
}

/// What was fitted, unless the work was interrupted.
fn whole<T>(fitted: Result<Vec<T>, RequestError>) -> Result<Vec<T>, Failure> {
    let fitted = fitted.or_request()?;
    if fitted.is_empty() {
        return Err(Failure::Run(anyhow::anyhow!("interrupted: nothing was changed")));
    }
    Ok(fitted)
}
