//! Output of samples: pictures, text, tables, tensors; and previews in a terminal.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use pushforward::aef::ImageShape;
use pushforward::data::graph::ABSENT;
use pushforward::data::images::continuous::quantize;
use pushforward::data::tables::{TableFile, TableLayout, Where, write_parquet};
use pushforward::data::{Layout, Schema};
use pushforward::flow_map::sample::{LabelChoice, Samples};
use pushforward::rng::{Purpose, stream};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};

use crate::escapes::escape;
use crate::exit::{Failure, OrFail as _};
use crate::files::write_atomic;
use crate::image_files::{check_empty, fill_folder, is_folder, single};
use crate::molecule_files::{CheckedMolecules, molecular};
use crate::molecule_pictures::Formulas;
use crate::picture::{Grid, Tile};
use crate::preview::{Colours, preview};
use crate::printer::Printer;
use crate::sequence_files;
use crate::table_files::{self, RowWriter, aligned, object};

/// Maximum number of tiles in a preview.
const PREVIEW_TILES: usize = 16;
/// Maximum number of lines in a preview.
const PREVIEW_LINES: usize = 8;

/// Tiles of images of class indices, or of levels of several channels.
pub(crate) fn tiles(ids: &[u32], schema: &Schema) -> Option<Vec<Tile>> {
    let Layout::Image { height, width } = schema.layout else { return None };
    let (top, channels) = ((schema.classes - 1).max(1) as u32, schema.sites / (height * width));
    let tile = |item: &[u32]| {
        let levels: Vec<u8> = item.iter().map(|&c| (c * 255 / top) as u8).collect();
        Tile::planes([channels, height, width], &levels)
    };
    Some(ids.chunks(schema.sites).map(tile).collect())
}

/// Items as lines for the screen: as [`texts`], with a sign in place of a line break.
pub(crate) fn lines(ids: &[u32], schema: &Schema) -> Vec<String> {
    texts(ids, schema).into_iter().map(|text| text.replace('\n', "\u{23ce}")).collect()
}

/// Items as text: the decoded symbols or letters, canonical SMILES, or class indices with spaces.
fn texts(ids: &[u32], schema: &Schema) -> Vec<String> {
    if let Some(molecules) = CheckedMolecules::new(ids, schema) {
        return molecules.lines();
    }
    let line = |item: &[u32]| match &schema.layout {
        Layout::Text { vocabulary } => vocabulary.decode(item),
        Layout::Columns(layout) => layout.line(&layout.decode_row(item, &mut stream(0, Purpose::Decode, 0))),
        Layout::Sequence(layout) => layout.decode(item),
        Layout::Image { .. } | Layout::Table | Layout::Graph(_) => {
            item.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
        }
    };
    ids.chunks(schema.sites).map(line).collect()
}

/// A few items for stdout: half-block pictures (in grey on a terminal with colours), or lines.
pub(crate) fn sketch(ids: &[u32], schema: &Schema) -> String {
    match tiles(ids, schema) {
        Some(tiles) => sketch_tiles(&tiles),
        None => {
            let shown = PREVIEW_LINES.min(ids.len() / schema.sites);
            lines(&ids[..shown * schema.sites], schema).join("\n")
        }
    }
}

/// A few samples for stdout: as [`sketch`], and rows of a table as the file would have them.
pub(crate) fn sketch_of(labelled: Labelled<'_>, schema: &Schema) -> Result<String, Failure> {
    let Layout::Columns(layout) = &schema.layout else { return Ok(sketch(&labelled.samples.ids, schema)) };
    let shown = PREVIEW_LINES.min(labelled.samples.nfe.len());
    Ok(aligned(layout, &labelled.writer(layout).rows(&labelled.samples.ids[..shown * schema.sites], schema.sites)?))
}

/// Tiles of images in data space, clamped to `[0, 1]`.
pub(crate) fn image_tiles(pixels: &[f32], shape: ImageShape) -> Vec<Tile> {
    let tile = |image: &[f32]| {
        let bytes: Vec<u8> = image.iter().map(|&x| quantize(x)).collect();
        Tile::planes([shape.channels, shape.height, shape.width], &bytes)
    };
    pixels.chunks(shape.numel()).map(tile).collect()
}

/// A few images in data space for stdout.
pub(crate) fn sketch_images(pixels: &[f32], shape: ImageShape) -> String {
    sketch_tiles(&image_tiles(pixels, shape))
}

/// The first few tiles for stdout.
pub(crate) fn sketch_tiles(tiles: &[Tile]) -> String {
    // Two rows of eight 16-pixel tiles, or fewer wider ones, fit a usual terminal.
    preview(&tiles[..tiles.len().min(PREVIEW_TILES)], 144, colours())
}

fn colours() -> Colours {
    let variable = |name| std::env::var(name).unwrap_or_default();
    if !std::io::stdout().is_terminal() || !variable("NO_COLOR").is_empty() {
        Colours::None
    } else if matches!(variable("COLORTERM").as_str(), "truecolor" | "24bit") {
        Colours::True
    } else if variable("TERM").contains("256color") {
        Colours::Grey256
    } else {
        Colours::None
    }
}

/// Items as a file for viewing: a picture, or lines of text if they are not images.
pub(crate) struct Sketch {
    /// Name of the file.
    pub(crate) name: String,
    /// Its content.
    pub(crate) bytes: Vec<u8>,
    /// Height and width in pixels of a picture.
    pub(crate) size: Option<(u32, u32)>,
}

impl Sketch {
    /// Items under a name without ending.
    pub(crate) fn new(name: &str, ids: &[u32], schema: &Schema) -> Self {
        let formulas = CheckedMolecules::new(ids, schema).and_then(|molecules| molecules.formulas());
        if let Some((bytes, size)) = formulas.and_then(|f| Some((f.png()?, f.pixels()))) {
            return Self { name: format!("{name}.png"), bytes, size: Some(size) };
        }
        match tiles(ids, schema) {
            Some(tiles) => {
                let grid = Grid::new(tiles);
                Self { name: format!("{name}.png"), bytes: grid.png(), size: Some(grid.size()) }
            }
            None => {
                let bytes = (lines(ids, schema).join("\n") + "\n").into_bytes();
                Self { name: format!("{name}.txt"), bytes, size: None }
            }
        }
    }

    /// Images in data space under a name without ending.
    pub(crate) fn of_images(name: &str, pixels: &[f32], shape: ImageShape) -> Self {
        let grid = Grid::new(image_tiles(pixels, shape));
        Self { name: format!("{name}.png"), bytes: grid.png(), size: Some(grid.size()) }
    }

    /// Writes the file into the `samples` folder of a run.
    pub(crate) fn save(&self, run: &Path) -> Result<PathBuf, Failure> {
        let folder = run.join("samples");
        std::fs::create_dir_all(&folder).map_err(|e| Failure::Run(anyhow::anyhow!("{}: {e}", folder.display())))?;
        let path = folder.join(&self.name);
        write_atomic(&path, &self.bytes).or_run()?;
        Ok(path)
    }
}

/// Samples with the labels that they were drawn for.
#[derive(Clone, Copy)]
pub(crate) struct Labelled<'a> {
    /// The samples.
    pub(crate) samples: &'a Samples,
    /// Their labels.
    pub(crate) labels: &'a LabelChoice,
    /// What each label stands for.
    pub(crate) names: &'a [String],
    /// Index of the first item.
    pub(crate) first: u64,
    /// Seed of the labels, and of what is drawn beyond classes for rows of tables.
    pub(crate) seed: u64,
    /// Condition on the rows of a table.
    pub(crate) condition: Option<&'a Where>,
    /// Rows of a table whose fields are kept, in turn.
    pub(crate) given: Option<&'a TableFile>,
}

impl Labelled<'_> {
    /// The label of an item; `None` without labels.
    fn label(&self, item: usize) -> Option<u32> {
        self.labels.of(self.seed, self.first + item as u64)
    }

    /// What the label of an item stands for; its number if nothing else is known.
    fn label_name(&self, item: usize) -> Option<String> {
        let label = self.label(item)?;
        Some(self.names.get(label as usize).cloned().unwrap_or_else(|| label.to_string()))
    }

    /// How the samples become rows of a table.
    fn writer<'b>(&'b self, layout: &'b TableLayout) -> RowWriter<'b> {
        RowWriter { layout, condition: self.condition, seed: self.seed, first: self.first, given: self.given }
    }

    /// The fields of the samples as rows of a table.
    fn rows(&self, layout: &TableLayout, sites: usize) -> Result<Vec<Vec<String>>, Failure> {
        self.writer(layout).rows(&self.samples.ids, sites)
    }
}

/// Refuses an output whose format is not known or not for these items, before they are drawn.
pub(crate) fn check_target(path: &Path, schema: &Schema) -> Result<(), Failure> {
    if path == Path::new("-") {
        return Ok(());
    }
    let (molecules, images) = (molecular(schema).is_some(), matches!(schema.layout, Layout::Image { .. }));
    if is_folder(path) {
        if !molecules && !images {
            return Err(Failure::request("only images and molecules are written into a folder of pictures")
                .hint("use .txt, .jsonl, .csv or .safetensors"));
        }
        return check_empty(path);
    }
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_lowercase();
    match ending.as_str() {
        "png" if !molecules && !images => Err(Failure::request("only images and molecules can be written as .png")
            .hint("use .txt, .jsonl, .csv or .safetensors")),
        "fasta" | "fa" if matches!(schema.layout, Layout::Sequence(_)) => Ok(()),
        "parquet" if matches!(schema.layout, Layout::Columns(_)) => Ok(()),
        "parquet" => Err(Failure::request("only rows of tables can be written as Parquet")
            .hint("use .png, .txt, .jsonl, .csv or .safetensors")),
        "fasta" | "fa" => Err(Failure::request("only sequences can be written as FASTA")
            .hint("use .png, .txt, .jsonl, .csv or .safetensors")),
        "svg" | "smi" if !molecules => Err(Failure::request(format!("only molecules can be written as .{ending}"))
            .hint("use .png, .txt, .jsonl, .csv or .safetensors")),
        "png" | "svg" | "smi" | "txt" | "jsonl" | "csv" | "safetensors" => Ok(()),
        _ => Err(Failure::request(format!("the ending of {} names no format", path.display())).hint(
            "use .png, .txt, .jsonl, .csv, .safetensors, for tables also .parquet, for molecules .smi and .svg, for sequences .fasta, a folder for one picture \
             each (ends in /), or - for stdout",
        )),
    }
}

/// Writes samples in the format that the file's ending names; see [`check_target`].
pub(crate) fn save(labelled: Labelled<'_>, schema: &Schema, path: &Path) -> Result<(), Failure> {
    let samples = labelled.samples;
    if is_folder(path) {
        return fill_folder(path, pictures(labelled, schema)?.into_iter()).or_run();
    }
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_lowercase();
    let table = if let Layout::Columns(layout) = &schema.layout { Some(layout) } else { None };
    let bytes = match ending.as_str() {
        "png" | "svg" | "smi" | "csv" if molecular(schema).is_some() => molecules(labelled, schema, &ending)?,
        "png" => {
            let tiles = tiles(&samples.ids, schema);
            Grid::new(tiles.expect("the target was checked: items are images")).png()
        }
        "txt" if table.is_none() => {
            let lines: String = texts(&samples.ids, schema).iter().map(|text| escape(text) + "\n").collect();
            lines.into_bytes()
        }
        "jsonl" => jsonl(labelled, schema)?.into_bytes(),
        "parquet" => {
            let layout = table.expect("the target was checked: items are rows");
            write_parquet(layout, &labelled.rows(layout, schema.sites)?).or_run()?
        }
        "csv" | "txt" if table.is_some() => {
            let layout = table.expect("it was asked for");
            table_files::csv(layout, &labelled.rows(layout, schema.sites)?).into_bytes()
        }
        "fasta" | "fa" | "csv" if matches!(schema.layout, Layout::Sequence(_)) => {
            sequences(labelled, schema, &ending).into_bytes()
        }
        "csv" => csv(labelled, schema).into_bytes(),
        _ => tensors(samples)?,
    };
    write_atomic(path, &bytes).or_run()
}

/// Puts samples into a file, onto stdout as JSON lines, or on the screen.
pub(crate) fn put(
    out: Option<&Path>,
    labelled: Labelled<'_>,
    schema: &Schema,
    printer: Printer,
) -> Result<(), Failure> {
    let ids = &labelled.samples.ids;
    match out {
        Some(path) if path == Path::new("-") => printer.result(jsonl(labelled, schema)?.trim_end()),
        Some(path) => {
            save(labelled, schema, path)?;
            printer.result(&path.display().to_string());
        }
        None => printer.result(&sketch_of(labelled, schema)?),
    }
    if let Some(molecules) = CheckedMolecules::new(ids, schema) {
        printer.note(&molecules.summary());
    }
    Ok(())
}

/// Molecules in a format that is specific to them.
fn molecules(labelled: Labelled<'_>, schema: &Schema, ending: &str) -> Result<Vec<u8>, Failure> {
    let molecules = CheckedMolecules::new(&labelled.samples.ids, schema).expect("the schema is of molecules");
    let formulas = || {
        let nothing = || Failure::Run(anyhow::anyhow!("no sample is a valid molecule, so there is nothing to draw"));
        molecules.formulas().ok_or_else(nothing)
    };
    Ok(match ending {
        "smi" => molecules.smi(labelled.first).into_bytes(),
        "csv" => molecules.csv(labelled.first, |item| labelled.label(item)).into_bytes(),
        "svg" => formulas()?.svg().into_bytes(),
        _ => formulas()?
            .png()
            .ok_or_else(|| Failure::request("the drawings are too large for one .png").hint("use .svg, or fewer"))?,
    })
}

/// Sequences as FASTA or as a table.
fn sequences(labelled: Labelled<'_>, schema: &Schema, ending: &str) -> String {
    let texts = texts(&labelled.samples.ids, schema);
    let label = |item: usize| labelled.label_name(item);
    if ending == "csv" {
        return sequence_files::csv(&texts, label);
    }
    sequence_files::fasta(&texts, |item| {
        let name = format!("sample-{:05}", labelled.first + item as u64);
        label(item).map_or(name.clone(), |label| format!("{name} label={label}"))
    })
}

/// One JSON object per line.
pub(crate) fn jsonl(labelled: Labelled<'_>, schema: &Schema) -> Result<String, Failure> {
    let (mut out, samples) = (String::new(), labelled.samples);
    if let Layout::Columns(layout) = &schema.layout {
        let rows = labelled.rows(layout, schema.sites)?;
        return Ok(rows.iter().map(|row| format!("{}\n", serde_json::Value::Object(object(layout, row)))).collect());
    }
    for (item, (mut object, nfe)) in described(&samples.ids, schema).into_iter().zip(&samples.nfe).enumerate() {
        object["nfe"] = (*nfe).into();
        if let Some(label) = labelled.label(item) {
            object["label"] = label.into();
            let name = labelled.label_name(item).filter(|name| *name != label.to_string());
            if let Some(name) = name {
                object["label_name"] = name.into();
            }
        }
        writeln!(out, "{object}").expect("a string takes every line");
    }
    Ok(out)
}

/// Items as JSON objects of one line each: the input of a reward program.
pub(crate) fn objects(ids: &[u32], schema: &Schema) -> Vec<String> {
    described(ids, schema).iter().map(ToString::to_string).collect()
}

fn described(ids: &[u32], schema: &Schema) -> Vec<serde_json::Value> {
    if let Some(molecules) = CheckedMolecules::new(ids, schema) {
        let object = |(item, (verdict, smiles)): (&[u32], (&str, Option<&str>))| {
            // Absent sites are `null`.
            let ids: Vec<Option<u32>> = item.iter().map(|&id| (id != ABSENT).then_some(id)).collect();
            serde_json::json!({"smiles": smiles, "verdict": verdict, "ids": ids})
        };
        return ids.chunks(schema.sites).zip(molecules.verdicts()).map(object).collect();
    }
    let described = |(item, text): (&[u32], String)| match schema.layout {
        Layout::Text { .. } => serde_json::json!({"text": text, "ids": item}),
        Layout::Sequence(ref layout) => serde_json::json!({"sequence": text, "ids": item[..layout.length_of(item)]}),
        Layout::Columns(ref layout) => {
            object(layout, &layout.decode_row(item, &mut stream(0, Purpose::Decode, 0))).into()
        }
        Layout::Image { .. } | Layout::Table | Layout::Graph(_) => serde_json::json!({"ids": item}),
    };
    ids.chunks(schema.sites).zip(texts(ids, schema)).map(described).collect()
}

fn csv(labelled: Labelled<'_>, schema: &Schema) -> String {
    let is_text = matches!(schema.layout, Layout::Text { .. });
    let label = labelled.label(0).map(|_| "label".to_owned());
    let sites = (0..schema.sites).map(|i| format!("site_{i}"));
    let header: Vec<String> = is_text.then(|| "text".to_owned()).into_iter().chain(sites).chain(label).collect();
    let texts = if is_text { texts(&labelled.samples.ids, schema) } else { Vec::new() };
    let mut out = header.join(",") + "\n";
    for (index, item) in labelled.samples.items().enumerate() {
        // A quoted cell may hold line breaks.
        let text = texts.get(index).map(|text| format!("\"{}\"", text.replace('"', "\"\"")));
        let numbers = item.iter().copied().chain(labelled.label(index)).map(|id| id.to_string());
        let row: Vec<String> = text.into_iter().chain(numbers).collect();
        writeln!(out, "{}", row.join(",")).expect("a string takes every line");
    }
    out
}

/// One picture for every image or valid molecule, with its name.
fn pictures(labelled: Labelled<'_>, schema: &Schema) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let (ids, first) = (&labelled.samples.ids, labelled.first);
    let name = |item: usize| format!("sample-{:05}.png", first + item as u64);
    if let Some(molecules) = CheckedMolecules::new(ids, schema) {
        let one = |(item, formula): (usize, Formulas)| Some((name(item), formula.png()?));
        return Ok(molecules.each_formula().filter_map(one).collect());
    }
    let tiles = tiles(ids, schema).expect("the target was checked: items are images");
    Ok(tiles.into_iter().enumerate().map(|(item, tile)| (name(item), single(tile))).collect())
}

fn tensors(samples: &Samples) -> Result<Vec<u8>, Failure> {
    let (sites, n) = (samples.sites.clone(), samples.nfe.len());
    let ids: Vec<u8> = samples.ids.iter().flat_map(|&i| (i as i32).to_le_bytes()).collect();
    let ends: Vec<u8> = samples.endpoints.iter().flat_map(|v| v.to_le_bytes()).collect();
    let views = [
        ("ids", TensorView::new(Dtype::I32, vec![n, sites.count], &ids).or_run()?),
        ("endpoints", TensorView::new(Dtype::F32, vec![n, sites.count, sites.classes], &ends).or_run()?),
    ];
    serialize(views, None).or_run()
}

#[cfg(test)]
mod tests {
    use pushforward::data::graph::{GraphLayout, NodeClass};
    use pushforward::run::site_shape;

    use super::*;

    fn schema() -> Schema {
        let node_classes = ["C", "O"].map(|e| NodeClass { element: e.into(), charge: 0 }).to_vec();
        let layout = GraphLayout { nodes: 2, node_classes, edge_classes: 4, sizes: vec![0, 1, 1] };
        Schema { sites: 3, classes: 4, layout: Layout::Graph(layout) }
    }

    #[test]
    fn molecules_have_their_formats() {
        let ids = [0, 1, 2, 1, 1, 3, 0, ABSENT, ABSENT];
        let sample = |ids: &[u32]| {
            let nfe = vec![1; ids.len() / 3];
            Samples { ids: ids.to_vec(), endpoints: Vec::new(), sites: site_shape(&schema()), nfe }
        };
        let all = sample(&ids);
        let labelled = Labelled {
            samples: &all,
            labels: &LabelChoice::Hidden,
            names: &[],
            first: 0,
            seed: 0,
            condition: None,
            given: None,
        };
        let text = |ending| String::from_utf8(molecules(labelled, &schema(), ending).unwrap()).unwrap();
        assert_eq!(text("smi"), "C=O sample-00000\nC sample-00002\n");
        assert_eq!(text("csv").lines().count(), 4);
        assert_eq!(text("svg").matches("<title>").count(), 2);
        let third = Labelled { labels: &vec![7, 8].into(), first: 1, ..labelled };
        let labels =
            |text: String| text.lines().map(|line| line.rsplit(',').next().unwrap().to_owned()).collect::<Vec<_>>();
        let table = String::from_utf8(molecules(third, &schema(), "csv").unwrap()).unwrap();
        assert_eq!(labels(table), ["label", "8", "7", "8"]);
        assert_eq!(labels(csv(third, &schema())), ["label", "8", "7", "8"]);
        assert!(jsonl(third, &schema()).unwrap().lines().next().unwrap().contains("\"label\":8"));
        assert!(!jsonl(labelled, &schema()).unwrap().contains("label"));
        assert_eq!(
            pictures(third, &schema()).unwrap().iter().map(|p| p.0.as_str()).collect::<Vec<_>>(),
            ["sample-00001.png", "sample-00003.png"]
        );
        assert!(molecules(labelled, &schema(), "png").unwrap().starts_with(b"\x89PNG"));
        let shown = sketch(&ids, &schema());
        assert_eq!(shown, "C=O\n(invalid: does not sanitise: O with valence 3)\nC");
        assert_eq!(Sketch::new("s", &ids, &schema()).name, "s.png");
        // Without a valid molecule, a drawing is a failed run, and a preview falls back to text.
        let failure = molecules(Labelled { samples: &sample(&ids[3..6]), ..labelled }, &schema(), "svg").unwrap_err();
        assert_eq!(failure.code(), 1);
        assert_eq!(Sketch::new("s", &ids[3..6], &schema()).name, "s.txt");
    }
}
