//! The images of a request: a picture, a folder of pictures, an IDX file, or the model's own test split.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use pushforward::aef::{AefModel, ImageShape};
use pushforward::burn::tensor::Tensor;
use pushforward::data::images::idx::Idx;
use pushforward::data::images::pictures::{self, Resize, ResizeFilter};
use pushforward::data::{ContinuousImages, ExampleKey, RawImages};
use pushforward::metrics::report::Row;
use pushforward::run::{Loaded, TrainedAef, own_items};
use pushforward::tensor::to_host;

use super::load_images;
use crate::args::{ImageArgs, RunDataArgs, SourceArgs};
use crate::exit::{Failure, OrFail as _};
use crate::interrupt::interrupted;
use crate::printer::Printer;
use crate::progress::StageBar;
use crate::ranks::team;

/// Default number of images of the test split.
pub(super) const TEST_ITEMS: usize = 256;

/// Images that a command requests.
pub(super) struct Wanted<'a> {
    /// A picture, a folder or an IDX file; the test split if absent.
    pub(super) path: Option<&'a Path>,
    /// Maximum number of images.
    pub(super) items: Option<usize>,
    /// Filter for resizing pictures of another size; `None` refuses them.
    pub(super) resize: Option<ResizeFilter>,
    /// Where the data of the run are.
    pub(super) data: &'a RunDataArgs,
}

/// Images as the model sees them: dequantised, and those of the test split with the noise of the recipe.
pub(super) struct Images {
    /// The set; its first [`Images::len`] images are used.
    pub(super) set: ContinuousImages,
    /// Name of every image.
    pub(super) names: Vec<String>,
    /// Name and hash of the test split.
    reference: Option<(String, String)>,
}

impl Images {
    /// The images of a command with the common source arguments.
    pub(super) fn of(
        loaded: &Loaded<TrainedAef>,
        shape: ImageShape,
        source: &SourceArgs,
        printer: Printer,
    ) -> Result<Self, Failure> {
        let SourceArgs { images, items, how: ImageArgs { resize, data, .. } } = source;
        let wanted = Wanted { path: images.as_deref(), items: *items, resize: *resize, data };
        Self::load(loaded, shape, &wanted, printer)
    }

    /// Reads the images.
    pub(super) fn load(
        loaded: &Loaded<TrainedAef>,
        shape: ImageShape,
        wanted: &Wanted<'_>,
        printer: Printer,
    ) -> Result<Self, Failure> {
        let size = [shape.channels, shape.height, shape.width];
        let most = wanted.items.unwrap_or(usize::MAX);
        let Some(path) = wanted.path else {
            let splits = load_images(&loaded.run, wanted.data, printer)?;
            if splits.test.shape() != size {
                let problem = format!("the model is of {shape} images and its data are now {:?}", splits.test.shape());
                return Err(Failure::request(problem));
            }
            let count = wanted.items.unwrap_or(TEST_ITEMS).min(splits.test.len());
            let names = (0..count).map(|i| format!("test-{i:05}")).collect();
            return Ok(Self { set: splits.test, names, reference: Some((splits.name + "/test", splits.sha256)) });
        };
        let (raw, mut names) = if path.is_dir() || pictures::is_picture(path) {
            let resize = wanted.resize.map(|filter| Resize { filter, ..Resize::default() });
            let found = pictures::load(path, size, resize).or_request()?;
            (found.images, found.names)
        } else {
            idx(path, shape)?
        };
        names.truncate(most);
        // With the dequantisation seed of the test split, its images have the same values when read from files.
        Ok(Self { set: ContinuousImages::held_out(Arc::new(raw), 0.0, !loaded.run.seed), names, reference: None })
    }

    /// Number of images.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Adds the test split as the row's reference, if the images are from there.
    pub(super) fn reference(&self, row: Row) -> Row {
        match &self.reference {
            Some((name, sha256)) => row.reference(name, sha256),
            None => row,
        }
    }

    /// The same images without noise and with noise of a given deviation.
    pub(super) fn clean_and_noisy(&self, noise: f64, seed: u64) -> (ContinuousImages, ContinuousImages) {
        let noisy = ContinuousImages::held_out(Arc::new(self.set.raw().clone()), noise, seed);
        (noisy.clean(), noisy)
    }
}

fn idx(path: &Path, shape: ImageShape) -> Result<(RawImages, Vec<String>), Failure> {
    let hint = "pictures end in .png, .jpg or .jpeg; anything else is read as IDX, the format of MNIST";
    let file = Idx::read(path).or_request().map_err(|e| e.hint(hint))?;
    let ImageShape { channels, height, width } = shape;
    let ([count, found @ ..], 1) = (file.dims.as_slice(), channels) else {
        return Err(Failure::request(format!("{} is an IDX file, and the model is of {shape} images", path.display()))
            .hint("colour images are read from .png and .jpg files"));
    };
    if found != [height, width] || *count == 0 {
        let problem = format!("{} holds {count} items of shape {found:?}, the model takes {shape}", path.display());
        return Err(Failure::request(problem));
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let names = (0..*count).map(|i| format!("{stem}-{i:05}")).collect();
    Ok((RawImages { pixels: file.data, labels: None, count: *count, channels, height, width }, names))
}

/// Some images of a set in data space.
pub(super) fn pixels(set: &ContinuousImages, range: Range<usize>) -> Vec<f32> {
    set.batch(&range.map(|i| ExampleKey::fixed(0, i)).collect::<Vec<_>>())
}

/// Images as a tensor in data space, `[count, n]`.
pub(super) fn tensor(net: &AefModel, pixels: Vec<f32>, n: usize) -> Tensor<2> {
    net.images(&pixels, pixels.len() / n)
}

/// Elements of a tensor.
pub(super) fn numbers(tensor: &Tensor<2>) -> Vec<f32> {
    to_host(tensor).into_iter().map(|v| v as f32).collect()
}

/// Refuses a model whose code is the whole image.
pub(super) fn check_reconstructs(net: &AefModel) -> Result<(), Failure> {
    if matches!(net, AefModel::Flow(_)) {
        return Err(Failure::request("a flow on pixels loses nothing in its code, so there is nothing to reconstruct")
            .hint("use a model with a latent that is smaller than the image"));
    }
    Ok(())
}

/// Images decoded from their latents, at deviation zero.
pub(super) fn reconstructions(net: &AefModel, pixels: &[f32], n: usize) -> Vec<f32> {
    numbers(&net.decode(net.encode(tensor(net, pixels.to_vec(), n)).z, None))
}

/// Mean squared difference of every pair of images.
pub(super) fn squared_errors(a: &[f32], b: &[f32], n: usize) -> Vec<f64> {
    let error = |(a, b): (&[f32], &[f32])| {
        a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>() / n as f64
    };
    a.chunks(n).zip(b.chunks(n)).map(error).collect()
}

/// Works on `count` items in batches; of several processes, each on a range of the batches.
pub(super) fn in_batches(
    count: usize,
    batch: usize,
    printer: Printer,
    work: impl FnMut(Range<usize>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    in_batches_of(0..count, batch, printer, work)
}

/// As [`in_batches`], on some of the items.
pub(super) fn in_batches_of(
    items: Range<usize>,
    batch: usize,
    printer: Printer,
    mut work: impl FnMut(Range<usize>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (team, mut done) = (team(), Ok(()));
    let own = own_items(&team, items.len(), batch);
    let own = items.start + own.start..items.start + own.end;
    let waited = team.each(|| {
        let mut bar = StageBar::new(printer);
        for start in own.clone().step_by(batch) {
            let end = own.end.min(start + batch);
            done = work(start..end);
            bar.update("items", end - own.start, own.len());
            if done.is_ok() && interrupted() {
                done =
                    Err(Failure::Run(anyhow::anyhow!("interrupted after {} of {} items", end - own.start, own.len())));
            }
            if done.is_err() {
                break;
            }
        }
        bar.finish();
        Vec::new()
    });
    done?;
    waited.map(drop).map_err(|e| Failure::Run(e.into()))
}
