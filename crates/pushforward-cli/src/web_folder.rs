//! A folder with a page that samples a flow map in a browser: the model, what the page needs to know of it, and the loop in
//! JavaScript. onnxruntime is copied from its npm package.

use std::fs;
use std::path::Path;

use pushforward::data::{Layout, Vocabulary};
use pushforward::flow_map::conditioning::Condition;
use pushforward::flow_map::interpolant::Source;
use pushforward::hash;
use pushforward::nn::Arrangement;
use pushforward::run::{Loaded, TrainedFlowMap, site_shape};
use serde_json::json;

use crate::exit::{Failure, OrFail as _};
use crate::files::write_atomic;
use crate::printer::Printer;

/// What does not depend on the model.
const PAGE: [(&str, &str); 3] = [
    ("index.html", include_str!("web/index.html")),
    ("pushforward.mjs", include_str!("web/pushforward.mjs")),
    ("random.mjs", include_str!("web/random.mjs")),
];

/// The npm package whose files the page loads, and the files with their SHA-256.
const PACKAGE: &str = "onnxruntime-web@1.30.0";
const ORT: [(&str, &str); 3] = [
    ("ort.wasm.min.mjs", "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b"),
    ("ort-wasm-simd-threaded.mjs", "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b"),
    ("ort-wasm-simd-threaded.wasm", "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"),
];

/// Writes the folder; `graph` is a jump of the model.
pub(crate) fn write(
    folder: &Path,
    ort: Option<&Path>,
    loaded: Loaded,
    graph: &[u8],
    printer: Printer,
) -> Result<(), Failure> {
    let loaded = loaded.flow_map("sample in a browser").or_request()?;
    if loaded.model.config.noise().source != Source::Gaussian {
        return Err(Failure::request("the page draws Gaussian noise, and this model has another source"));
    }
    // Everything is read before anything is written.
    let mut copied = Vec::new();
    let hint = format!("npm install {PACKAGE}, and give its folder: --ort node_modules/onnxruntime-web/dist");
    for (name, sha256) in ORT.into_iter().filter(|_| ort.is_some()) {
        let path = ort.unwrap_or(folder).join(name);
        let bytes = fs::read(&path).map_err(|error| {
            Failure::request(format!("{}: cannot read onnxruntime: {error}", path.display())).hint(&hint)
        })?;
        if hash::sha256([&bytes]) != sha256 {
            let problem = format!("{} is not the file of {PACKAGE}, which the page was tested with", path.display());
            return Err(Failure::request(problem).hint(&hint));
        }
        copied.push((name, bytes));
    }
    for (name, text) in PAGE {
        write_atomic(&folder.join(name), text.as_bytes()).or_run()?;
    }
    write_atomic(&folder.join("model.onnx"), graph).or_run()?;
    write_atomic(&folder.join("model.json"), about(&loaded).to_string().as_bytes()).or_run()?;
    for (name, bytes) in copied {
        write_atomic(&folder.join("ort").join(name), &bytes).or_run()?;
    }
    printer.result(&folder.join("index.html").display().to_string());
    if ort.is_none() {
        printer.note(&format!(
            "to run, the page needs {} of the npm package {PACKAGE} in {}, or --ort",
            ORT.map(|(name, _)| name).join(", "),
            folder.join("ort").display()
        ));
    }
    printer.note("serve the folder with any server of files, such as `python3 -m http.server`");
    Ok(())
}

/// What the page knows of the model.
fn about(loaded: &Loaded<TrainedFlowMap>) -> serde_json::Value {
    let (model, run) = (&loaded.model, &loaded.run);
    let sites = site_shape(&run.schema);
    let classes_of: Vec<usize> = (0..sites.count).map(|site| sites.classes_of(site)).collect();
    // Of the columns of a table only the classes that there are are drawn.
    let has = if matches!(sites.arrangement, Arrangement::Columns(_)) { classes_of.clone() } else { Vec::new() };
    let (mut image, mut nodes) = (None, None);
    let (mut symbols, mut sizes): (Vec<String>, Vec<u64>) = (Vec::new(), Vec::new());
    match &run.schema.layout {
        Layout::Text { vocabulary: Vocabulary::Characters(letters) } => {
            symbols = letters.iter().map(char::to_string).collect();
        }
        Layout::Image { height, width } => image = Some([*height, *width]),
        Layout::Sequence(layout) => {
            symbols = layout.letters().iter().map(char::to_string).collect();
            // Sequences of one length have no masks of sites to draw.
            sizes = if layout.varies() { layout.lengths.clone() } else { Vec::new() };
        }
        Layout::Graph(layout) => (nodes, sizes) = (Some(layout.nodes), layout.sizes.clone()),
        _ => {}
    }
    if matches!(sites.arrangement, Arrangement::Record) && sizes.is_empty() {
        sizes = (0..=sites.count).map(|n| u64::from(n == sites.count)).collect();
    }
    let told = matches!(model.config.condition, Condition::Prefix { .. } | Condition::Observed { .. });
    json!({
        "name": run.name,
        "description": run.description,
        "sites": sites.count,
        "classes": sites.classes,
        "classes_of": classes_of,
        "has": has,
        "image": image,
        "symbols": symbols,
        "nodes": nodes,
        "sizes": sizes,
        "edge_scale": model.config.noise().edge_scale,
        "labels": model.net.label_count().map_or_else(Vec::new, |_| run.label_names()),
        "label_counts": model.label_counts,
        "grids": model.grids,
        "told": told,
    })
}
