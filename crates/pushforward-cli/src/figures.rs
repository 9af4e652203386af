//! Pictures of a model's samples beside the data, for files and for the page of a report.

use std::path::{Path, PathBuf};

use pushforward::data::{Layout, Splits};
use pushforward::flow_map::sample::SampleRequest;
use pushforward::run::evaluate::{EvalRequest, Generates};
use pushforward::run::{Loaded, Preview, TrainedAef, items, preview_request};

use crate::exit::{Failure, OrFail as _};
use crate::files::write_atomic;
use crate::interrupt::interrupted;
use crate::output::Sketch;
use crate::{sequence_pictures, table_pictures};

/// Items of a picture of laws.
const PICTURED: usize = 2000;

/// Something to look at.
pub(crate) struct Figure {
    /// The name of its file without the ending.
    pub(crate) name: String,
    /// What it shows.
    pub(crate) title: String,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    Svg(String),
    Png(Vec<u8>),
    Text(String),
}

impl Figure {
    /// A sketch under a title.
    pub(crate) fn of(sketch: &Sketch, title: &str) -> Self {
        let content = match sketch.size {
            Some(_) => Content::Png(sketch.bytes.clone()),
            None => Content::Text(String::from_utf8_lossy(&sketch.bytes).into_owned()),
        };
        let name = sketch.name.split('.').next().unwrap_or_default().to_owned();
        Self { name, title: title.to_owned(), content }
    }
}

/// Whether there are pictures of the laws of a layout.
pub(crate) fn has_laws(layout: &Layout) -> bool {
    matches!(layout, Layout::Sequence(_) | Layout::Columns(_))
}

/// Pictures of laws, of data beside samples with each number of network evaluations: letters, lengths, columns, pairs of
/// columns. Nothing for other data.
pub(crate) fn laws<G: Generates>(
    loaded: &Loaded<G>,
    splits: &Splits,
    request: &EvalRequest,
) -> Result<Vec<Figure>, Failure> {
    let layout = &loaded.run.schema.layout;
    if !has_laws(layout) {
        return Ok(Vec::new());
    }
    let data = items(splits.train.as_ref(), PICTURED);
    let mut figures = Vec::new();
    for &nfe in &request.nfe {
        let samples = draw(loaded, request, nfe, PICTURED)?;
        let sets = [("data", &data[..]), ("samples", &samples[..])];
        let drawn = match layout {
            Layout::Sequence(layout) => sequence_pictures::draw(&sets, layout),
            Layout::Columns(layout) => table_pictures::draw(sets, layout),
            _ => Vec::new(),
        };
        figures.extend(drawn.into_iter().map(|(what, svg)| Figure {
            name: format!("nfe{nfe}-{what}"),
            title: format!("{what}, samples with {}", evaluations(nfe)),
            content: Content::Svg(svg),
        }));
    }
    Ok(figures)
}

/// Held-out items, and samples with each number of network evaluations from the same noise.
pub(crate) fn samples<G: Generates>(
    loaded: &Loaded<G>,
    splits: &Splits,
    request: &EvalRequest,
) -> Result<Vec<Figure>, Failure> {
    let schema = &loaded.run.schema;
    let held_out = items(splits.test.as_ref(), Preview::COUNT);
    let mut figures = vec![Figure::of(&Sketch::new("data", &held_out, schema), "held-out data")];
    for &nfe in &request.nfe {
        let ids = draw(loaded, request, nfe, Preview::COUNT)?;
        let sketch = Sketch::new(&format!("nfe{nfe}"), &ids, schema);
        figures.push(Figure::of(&sketch, &format!("samples with {}", evaluations(nfe))));
    }
    Ok(figures)
}

/// A number of network evaluations in words.
pub(crate) fn evaluations(nfe: usize) -> String {
    format!("{nfe} network evaluation{}", if nfe == 1 { "" } else { "s" })
}

fn draw<G: Generates>(
    loaded: &Loaded<G>,
    request: &EvalRequest,
    nfe: usize,
    count: usize,
) -> Result<Vec<u32>, Failure> {
    let grid = request.sample.sampler.grid(nfe).or_request()?;
    let wanted = SampleRequest { grid, count, ..request.sample.clone() };
    Ok(loaded.model.generate(&wanted, &mut |_| !interrupted()).or_request()?.ids)
}

/// Samples of an autoencoder with and without the deviations of its output, each with a title; nothing if it draws none.
pub(crate) fn of_images(loaded: &Loaded<TrainedAef>, seed: u64) -> Result<Vec<(Sketch, &'static str)>, Failure> {
    let mut drawn = Vec::new();
    for (name, title, deviations) in
        [("final-samples", "samples", true), ("final-means", "samples, mean images", false)]
    {
        if loaded.model.net.generates() {
            let pixels = loaded.model.draw(&preview_request(seed, deviations), &mut |_| true).or_run()?;
            drawn.push((Sketch::of_images(name, &pixels, loaded.model.shape), title));
        }
    }
    Ok(drawn)
}

/// Writes pictures into a folder.
pub(crate) fn save(figures: &[Figure], folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    std::fs::create_dir_all(folder).map_err(|e| Failure::Run(anyhow::anyhow!("{}: {e}", folder.display())))?;
    let mut written = Vec::new();
    for Figure { name, content, .. } in figures {
        let (ending, bytes) = match content {
            Content::Svg(text) => ("svg", text.as_bytes()),
            Content::Png(bytes) => ("png", &bytes[..]),
            Content::Text(text) => ("txt", text.as_bytes()),
        };
        let path = folder.join(format!("{name}.{ending}"));
        write_atomic(&path, bytes).or_run()?;
        written.push(path);
    }
    Ok(written)
}
