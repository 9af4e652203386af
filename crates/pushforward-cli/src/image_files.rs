//! Images in data space as files: a grid, tensors, JSON lines, or one picture each.

use std::fs;
use std::path::{Path, PathBuf, is_separator};

use pushforward::aef::ImageShape;
use pushforward::data::images::continuous::quantize;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};

use crate::exit::{Failure, OrFail as _};
use crate::files::{FilesError, write_atomic};
use crate::output::{image_tiles, sketch_images};
use crate::picture::{Grid, Tile};
use crate::printer::Printer;

/// Maximum number of images per row of a comparison.
const COMPARED: usize = 16;

/// How images or codes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One picture.
    Png,
    /// Tensors.
    Safetensors,
    /// One JSON object a line.
    Jsonl,
    /// The same on stdout.
    Stdout,
    /// A folder with a picture for every image.
    Folder,
}

/// All formats of images.
pub(crate) const IMAGES: &[Format] = &[Format::Png, Format::Safetensors, Format::Jsonl, Format::Folder, Format::Stdout];

impl Format {
    fn spelled(self) -> &'static str {
        match self {
            Self::Png => ".png",
            Self::Safetensors => ".safetensors",
            Self::Jsonl => ".jsonl",
            Self::Stdout => "- for stdout",
            Self::Folder => "a folder (ends in /)",
        }
    }

    fn matches(self, path: &Path) -> bool {
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_lowercase();
        match self {
            Self::Stdout => path == Path::new("-"),
            Self::Folder => path.to_string_lossy().ends_with(is_separator) || path.is_dir(),
            Self::Png => ending == "png",
            Self::Safetensors => ending == "safetensors",
            Self::Jsonl => ending == "jsonl",
        }
    }
}

/// Path and format of an output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// The file or folder.
    pub(crate) path: &'a Path,
    /// Its format.
    pub(crate) format: Format,
}

impl<'a> Target<'a> {
    /// Parses a path, so that a wrong one is reported before anything is computed.
    pub(crate) fn of(path: &'a Path, possible: &[Format]) -> Result<Self, Failure> {
        // Folders first: their names may have an ending.
        let format = [Format::Folder, Format::Stdout, Format::Png, Format::Safetensors, Format::Jsonl]
            .into_iter()
            .find(|format| format.matches(path))
            .filter(|format| possible.contains(format));
        let Some(format) = format else {
            let list: Vec<&str> = possible.iter().map(|format| format.spelled()).collect();
            return Err(Failure::request(format!("{} names no format that this command writes", path.display()))
                .hint(format!("use {}", list.join(", "))));
        };
        if format == Format::Folder {
            check_empty(path)?;
        }
        Ok(Self { path, format })
    }

    /// Writes a file of this format.
    pub(crate) fn write(self, bytes: &[u8], printer: Printer) -> Result<(), Failure> {
        write_atomic(self.path, bytes).or_run()?;
        self.print_path(printer);
        Ok(())
    }

    /// Prints the path: as the result, or as a note if the result is JSON.
    fn print_path(self, printer: Printer) {
        let path = self.path.display().to_string();
        if printer.json { printer.note(&path) } else { printer.result(&path) }
    }
}

/// Whether an output is a folder: it ends in a separator or is one.
pub(crate) fn is_folder(path: &Path) -> bool {
    Format::Folder.matches(path)
}

/// Refuses a folder that has something in it.
pub(crate) fn check_empty(path: &Path) -> Result<(), Failure> {
    if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::request(format!("the folder {} is not empty", path.display()))
            .hint("name another one: pictures of several requests are not mixed"));
    }
    Ok(())
}

/// Images with their names.
pub(crate) struct Images<'a> {
    /// Pixels in data space, image by image; pictures clamp them to `[0, 1]`.
    pub(crate) pixels: &'a [f32],
    /// Shape of every image.
    pub(crate) shape: ImageShape,
    /// One for every image.
    pub(crate) names: &'a [String],
    /// Whether they are a sequence, which pictures show in one row.
    pub(crate) sequence: bool,
}

impl Images<'_> {
    /// Writes the images, or shows the first ones in the terminal without a target.
    pub(crate) fn put(&self, target: Option<Target<'_>>, printer: Printer) -> Result<(), Failure> {
        let Some(target) = target else {
            printer.result(&sketch_images(self.pixels, self.shape));
            return Ok(());
        };
        match target.format {
            Format::Png => {
                let grid = Grid::new(image_tiles(self.pixels, self.shape));
                let columns = if self.sequence { grid.tiles.len() } else { grid.columns };
                target.write(&Grid { columns, ..grid }.png(), printer)
            }
            Format::Safetensors => target.write(&tensors(&[("images", self.pixels)], self.shape)?, printer),
            Format::Jsonl => target.write(self.jsonl().as_bytes(), printer),
            Format::Stdout => {
                printer.result(self.jsonl().trim_end());
                Ok(())
            }
            Format::Folder => {
                fill_folder(target.path, self.pictures()).or_run()?;
                target.print_path(printer);
                Ok(())
            }
        }
    }

    fn pictures(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        image_tiles(self.pixels, self.shape).into_iter().zip(self.names).enumerate().map(|(index, (tile, name))| {
            // Names may come from a file: only the last part of a path is used, and the number makes names unique.
            let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy();
            (format!("{index:05}-{stem}.png"), single(tile))
        })
    }

    fn jsonl(&self) -> String {
        let ImageShape { channels, height, width } = self.shape;
        let line = |(image, name): (&[f32], &String)| {
            let pixels: Vec<u8> = image.iter().map(|&x| quantize(x)).collect();
            let value = serde_json::json!({"name": name, "shape": [channels, height, width], "pixels": pixels});
            format!("{value}\n")
        };
        self.pixels.chunks(self.shape.numel()).zip(self.names).map(line).collect()
    }
}

/// Creates and fills a folder with files by name, atomically.
pub(crate) fn fill_folder(path: &Path, files: impl Iterator<Item = (String, Vec<u8>)>) -> Result<(), FilesError> {
    // A path that ends in a separator has its own folder as its parent on some systems.
    let path = &path.components().collect::<PathBuf>();
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(FilesError::io("create the folder", parent))?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".partial-");
    // A temporary folder is private: request the permissions of an ordinary one, which the umask narrows.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    let folder = builder.tempdir_in(parent).map_err(FilesError::io("create a folder in", parent))?;
    for (name, bytes) in files {
        let file = folder.path().join(name);
        fs::write(&file, bytes).map_err(FilesError::io("write", &file))?;
    }
    if path.is_dir() {
        fs::remove_dir(path).map_err(FilesError::io("replace", path))?;
    }
    fs::rename(folder.path(), path).map_err(FilesError::io("write", path))?;
    // The folder has been renamed: there is no temporary folder left to remove.
    let _ = folder.keep();
    Ok(())
}

/// A picture of one image.
pub(crate) fn single(tile: Tile) -> Vec<u8> {
    Grid { tiles: vec![tile], columns: 1, scale: 1, gap: 0 }.png()
}

/// Rows of images to compare, filled batch by batch up to what their target needs.
pub(crate) struct Rows<'a> {
    target: Option<Target<'a>>,
    shape: ImageShape,
    rows: Vec<(&'static str, Vec<f32>)>,
}

impl<'a> Rows<'a> {
    /// Empty rows.
    pub(crate) fn new(target: Option<Target<'a>>, shape: ImageShape, names: &[&'static str]) -> Self {
        Self { target, shape, rows: names.iter().map(|name| (*name, Vec::new())).collect() }
    }

    /// Adds a batch, one part for every row.
    pub(crate) fn extend(&mut self, parts: &[&[f32]]) {
        let most = match self.target {
            None => 0,
            Some(Target { format: Format::Png, .. }) => COMPARED * self.shape.numel(),
            Some(_) => usize::MAX,
        };
        for ((_, row), part) in self.rows.iter_mut().zip(parts) {
            row.extend(&part[..part.len().min(most - row.len())]);
        }
    }

    /// Writes the rows: one below the other as a picture, or as tensors.
    pub(crate) fn put(&self, printer: Printer) -> Result<(), Failure> {
        let Some(target) = self.target else { return Ok(()) };
        if target.format == Format::Safetensors {
            let parts: Vec<(&str, &[f32])> = self.rows.iter().map(|(name, row)| (*name, row.as_slice())).collect();
            return target.write(&tensors(&parts, self.shape)?, printer);
        }
        let rows: Vec<Vec<Tile>> = self.rows.iter().map(|(_, row)| image_tiles(row, self.shape)).collect();
        let columns = rows[0].len();
        target.write(&Grid { columns, ..Grid::new(rows.concat()) }.png(), printer)
    }
}

/// Formats of [`Rows`].
pub(crate) const ROWS: &[Format] = &[Format::Png, Format::Safetensors];

fn tensors(parts: &[(&str, &[f32])], shape: ImageShape) -> Result<Vec<u8>, Failure> {
    let ImageShape { channels, height, width } = shape;
    let bytes: Vec<Vec<u8>> = parts.iter().map(|(_, p)| p.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let views = parts.iter().zip(&bytes).map(|((name, pixels), bytes)| {
        let count = pixels.len() / shape.numel();
        TensorView::new(Dtype::F32, vec![count, channels, height, width], bytes).map(|view| (*name, view))
    });
    let views = views.collect::<Result<Vec<_>, _>>().or_run()?;
    serialize(views, None).or_run()
}
