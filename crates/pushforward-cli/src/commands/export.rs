//! `pushforward export`

use crate::args::ExportArgs;
use crate::exit::Failure;
use crate::printer::Printer;

#[cfg(not(feature = "onnx"))]
pub(crate) fn run(_: &ExportArgs, _: Printer) -> Result<(), Failure> {
    Err(Failure::request("this program was built without the export of models")
        .hint("cargo install --path crates/pushforward-cli --features onnx"))
}

#[cfg(feature = "onnx")]
pub(crate) fn run(args: &ExportArgs, printer: Printer) -> Result<(), Failure> {
    with_onnx::run(args, printer)
}

#[cfg(feature = "onnx")]
mod with_onnx {
    use pushforward::burn::tensor::Device;
    use pushforward::data::Layout;
    use pushforward::onnx::{
        Check, Exported, Numbers, Part, SamplerSettings, autoencoder, categorical_autoencoder, jump, sampler,
    };
    use pushforward::run::{Loaded, Model, RunInfo, WeightSet};

    use crate::args::export::{ExportArgs, ExportNumbers, PartName};
    use crate::exit::{Failure, OrFail as _};
    use crate::files::write_atomic;
    use crate::models::ModelFile;
    use crate::printer::Printer;
    use crate::web_folder;

    pub(super) fn run(args: &ExportArgs, printer: Printer) -> Result<(), Failure> {
        let weights = if args.raw { WeightSet::Raw } else { WeightSet::Ema };
        // Nothing is computed, so any device will do.
        let loaded = ModelFile::find(&args.model, printer)?.load(weights, &Device::flex()).or_request()?;
        let exported = graph(args, &loaded)?;
        let numbers = match args.numbers {
            ExportNumbers::F32 => Numbers::F32,
            ExportNumbers::F16 => Numbers::F16,
            ExportNumbers::Mixed => Numbers::Mixed,
        };
        let about = about(&loaded.run);
        let about: Vec<(&str, &str)> = about.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let bytes = exported.to_bytes(numbers, &about).or_request()?;
        if !args.no_check {
            match exported.check(numbers, &bytes) {
                Ok(Check::Equal { items, difference, apart }) => {
                    let rest = if apart > 0.0 {
                        format!(", but for {:.1} % of the numbers", 100.0 * apart)
                    } else {
                        String::new()
                    };
                    printer.note(&format!(
                        "checked: tract computes the same for {items} items, to {difference:.0e}{rest}"
                    ));
                }
                Ok(Check::NotRun(why)) => printer.note(&format!("not checked, tract cannot run it: {why}")),
                Err(error) => {
                    return Err(
                        Failure::Run(error.into()).hint("nothing was written; --no-check writes it all the same")
                    );
                }
            }
        }
        drop(exported);
        if let Model::FlowMap(model) = &loaded.model
            && (!model.margins.is_empty()
                || matches!(&model.schema.layout, Layout::Columns(table) if !table.structural_zeros().is_empty()))
        {
            printer.note(
                "items of the exported model are those of its network alone: margins and pairs of values that never occur \
                 are left to the program",
            );
        }
        if let Some(folder) = &args.web {
            return web_folder::write(folder, args.ort.as_deref(), loaded, &bytes, printer);
        }
        let out = args.out.as_ref().expect("one of --out and --web is there");
        write_atomic(out, &bytes).or_run()?;
        printer.result(&out.display().to_string());
        printer.note(&format!("{} bytes, opset 17, any batch", bytes.len()));
        Ok(())
    }

    fn graph<'a>(args: &ExportArgs, loaded: &'a Loaded) -> Result<Exported<'a>, Failure> {
        let path = args.model.display();
        match &loaded.model {
            Model::Aef(_) | Model::CategoricalAef(_) | Model::Classifier(_) if args.web.is_some() => {
                let what = loaded.model.family();
                let failure = Failure::request(format!("--web: only for flow maps, and {path} holds {what}"));
                Err(match &loaded.model {
                    Model::Aef(_) | Model::CategoricalAef(_) => {
                        failure.hint("--out FILE.onnx --part decoder, for a page of your own")
                    }
                    _ => failure,
                })
            }
            Model::FlowMap(model) if args.part.is_none() => match args.nfe {
                None => jump(model).or_request(),
                Some(evaluations) => {
                    let temperature = args.temperature.unwrap_or(1.0);
                    let guidance = args.guidance.unwrap_or(1.0);
                    sampler(model, SamplerSettings { evaluations, temperature, guidance }).or_request()
                }
            },
            Model::FlowMap(_) => {
                Err(Failure::request(format!("--part: only for autoencoders, and {path} holds a flow map"))
                    .hint("leave it out"))
            }
            Model::Aef(model) => autoencoder(model, part(args, loaded)?).or_request(),
            Model::CategoricalAef(model) => categorical_autoencoder(model, part(args, loaded)?).or_request(),
            Model::Classifier(_) => {
                let what = loaded.model.family();
                let message = format!("{path} holds {what}: flow maps and autoencoders are exported");
                Err(Failure::request(message))
            }
        }
    }

    /// The part of an autoencoder that is asked for.
    fn part(args: &ExportArgs, loaded: &Loaded) -> Result<Part, Failure> {
        if args.nfe.is_some() {
            let (path, what) = (args.model.display(), loaded.model.family());
            return Err(
                Failure::request(format!("--nfe: only for flow maps, and {path} holds {what}")).hint("leave it out")
            );
        }
        args.part.map(Part::from).ok_or_else(|| {
            let parts = match &loaded.model {
                Model::CategoricalAef(_) => "--part encoder, decoder, prior or, where the model has one, coupling",
                _ => "--part encoder, --part decoder or --part prior",
            };
            Failure::request("which part of the autoencoder?").hint(parts)
        })
    }

    impl From<PartName> for Part {
        fn from(name: PartName) -> Self {
            match name {
                PartName::Encoder => Self::Encoder,
                PartName::Decoder => Self::Decoder,
                PartName::Prior => Self::Prior,
                PartName::Coupling => Self::Coupling,
            }
        }
    }

    /// The metadata of the file.
    fn about(run: &RunInfo) -> Vec<(&'static str, String)> {
        let json = |value: serde_json::Result<String>| value.expect("schemas and names can be serialised");
        let mut about = vec![("schema", json(serde_json::to_string(&run.schema))), ("recipe", run.recipe.clone())];
        let names = run.label_names();
        if !names.is_empty() {
            about.push(("labels", json(serde_json::to_string(&names))));
        }
        about
    }
}
