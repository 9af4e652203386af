//! `pushforward inspect`

use pushforward::checkpoint::Checkpoint;
use pushforward::model::checkpoint_file;

use crate::args::InspectArgs;
use crate::exit::{Failure, OrFail as _};
use crate::printer::Printer;

pub(crate) fn run(args: &InspectArgs, printer: Printer) -> Result<(), Failure> {
    let path = checkpoint_file(&args.model);
    let file = Checkpoint::load(&path).or_request()?;
    let shapes: Vec<(&String, Vec<usize>)> =
        file.ema.iter().map(|(name, data)| (name, data.shape().to_vec())).collect();
    let count = |shape: &Vec<usize>| shape.iter().product::<usize>();
    let parameters: usize = shapes.iter().map(|(_, shape)| count(shape)).sum();
    let value = serde_json::json!({
        "path": path,
        "format": file.format,
        "step": file.step,
        "parameters": parameters,
        "provenance": file.provenance,
        "recipe": file.recipe,
        "tensors": shapes.iter().map(|(name, shape)| serde_json::json!({"name": name, "shape": shape})).collect::<Vec<_>>(),
    });
    printer.report(&value, || {
        let mut text = format!(
            "{}\nstep {}, {parameters} parameters, averaged and trained weights, format {}\n",
            path.display(),
            file.step,
            file.format
        );
        for (key, value) in &file.provenance {
            // The description of the data is for programs, and long.
            let short: String = value.chars().take(100).collect();
            text += &format!("{key}: {short}{}\n", if short.len() < value.len() { "..." } else { "" });
        }
        text += "\nrecipe:\n";
        text += &file.recipe;
        text += "\ntensors:\n";
        for (name, shape) in &shapes {
            text += &format!("  {name} {shape:?}\n");
        }
        text.trim_end().to_owned()
    });
    Ok(())
}
