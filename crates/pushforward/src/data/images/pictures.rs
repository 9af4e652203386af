//! PNG and JPEG files as 8-bit images of one size.
//!
//! Lossless conversions are made: grey to colour by repetition, colour with three equal channels to grey, and an alpha
//! channel that is opaque everywhere is dropped. Lossy ones are refused: more than 8 bits per channel, transparency,
//! colour to grey, and another size unless a [`Resize`] is given. The EXIF orientation is applied; colour profiles are
//! not.
//!
//! # Examples
//! ```
//! use pushforward::data::images::pictures::{Resize, load};
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("a.png");
//! image::GrayImage::from_pixel(6, 2, image::Luma([9])).save(&path)?;
//! assert!(load(&path, [1, 2, 2], None).is_err());
//! let named = load(&path, [1, 2, 2], Some(Resize::default()))?;
//! assert_eq!((named.names, named.images.pixels), (vec!["a.png".to_owned()], vec![9; 4]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use serde::de::IntoDeserializer as _;
use serde::{Deserialize, Serialize};

use crate::data::images::listing::{Listing, names};
pub use crate::data::images::listing::{classes, is_picture};
use crate::data::{DataError, RawImages, files};
use crate::hash::sha256;

/// Number of files decoded in parallel before their pixels are concatenated.
const BLOCK: usize = 256;
/// Largest picture that is decoded, in bytes.
const LARGEST: u64 = 1 << 29;

/// The kernel for resizing. For downsizing it has the width of the output pixels (anti-aliasing), except `nearest`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeFilter {
    /// The nearest pixel.
    Nearest,
    /// Linear. The default, because it does not overshoot at edges.
    #[default]
    Triangle,
    /// Cubic (Catmull and Rom 1974), the `bicubic` of other programs.
    CatmullRom,
    /// Gaussian.
    Gaussian,
    /// Windowed sinc with three lobes: sharp, with slight ringing at edges.
    Lanczos3,
}

impl FromStr for ResizeFilter {
    type Err = serde::de::value::Error;

    /// Parses the name of a filter as in a recipe.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::deserialize(name.into_deserializer())
    }
}

impl From<ResizeFilter> for FilterType {
    fn from(filter: ResizeFilter) -> Self {
        match filter {
            ResizeFilter::Nearest => Self::Nearest,
            ResizeFilter::Triangle => Self::Triangle,
            ResizeFilter::CatmullRom => Self::CatmullRom,
            ResizeFilter::Gaussian => Self::Gaussian,
            ResizeFilter::Lanczos3 => Self::Lanczos3,
        }
    }
}

/// What is cropped before a picture is resized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Crop {
    /// Keeps the largest centred window of the target's aspect ratio; for a square target, the centre square.
    #[default]
    Center,
    /// Nothing; the picture is stretched.
    None,
}

/// How a picture of another size is changed to the target size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resize {
    /// What is cropped first.
    pub crop: Crop,
    /// The filter for resizing the rest.
    pub filter: ResizeFilter,
}

/// Images and the names of their files.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedImages {
    /// The images.
    pub images: RawImages,
    /// One file name per image.
    pub names: Vec<String>,
}

/// Reads one picture, or all pictures of a folder in the order of their names, as images of `shape`
/// (`[channels, height, width]`).
///
/// # Errors
/// If a file cannot be read, needs a lossy conversion (see the module), has another size and `resize` is `None`, or the
/// folder has no pictures.
///
/// # Panics
/// If `shape` does not have 1 or 3 channels, or has no pixels.
pub fn load(path: &Path, shape: [usize; 3], resize: Option<Resize>) -> Result<NamedImages, DataError> {
    let paths = paths(path)?;
    let (images, _) = read_all(&paths, shape, resize)?;
    let name = |path: &PathBuf| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok(NamedImages { images, names: paths.iter().map(name).collect() })
}

/// Kinds (size, colour, bits) of the pictures of a folder, or of one file, with their counts, the most frequent first.
///
/// # Errors
/// If a file cannot be read, or the folder has no pictures.
///
/// # Examples
/// ```
/// use pushforward::data::images::pictures::survey;
/// let dir = tempfile::tempdir()?;
/// image::RgbImage::new(3, 2).save(dir.path().join("a.png"))?;
/// assert_eq!(survey(dir.path())?, [("2 x 3, colour, 8 bits per channel".to_owned(), 1)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn survey(path: &Path) -> Result<Vec<(String, usize)>, DataError> {
    let kind = |path: &PathBuf| {
        let bytes = bytes(path)?;
        open(&bytes).map(|(decoder, orientation)| describe(&decoder, orientation)).map_err(picture_error(path))
    };
    let mut kinds = BTreeMap::new();
    let paths = if path.is_dir() {
        Listing::of(path)?.names.into_iter().map(|name| path.join(name)).collect()
    } else {
        vec![path.to_owned()]
    };
    for block in paths.chunks(BLOCK) {
        for kind in block.par_iter().map(kind).collect::<Vec<Result<String, DataError>>>() {
            *kinds.entry(kind?).or_insert(0) += 1;
        }
    }
    let mut kinds: Vec<(String, usize)> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Ok(kinds)
}

fn paths(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    Ok(names(path)?.into_iter().map(|name| path.join(name)).collect())
}

/// The pictures as images of `shape`, and the SHA-256 of each file.
pub(super) fn read_all(
    paths: &[PathBuf],
    shape: [usize; 3],
    resize: Option<Resize>,
) -> Result<(RawImages, Vec<String>), DataError> {
    let [channels, height, width] = shape;
    assert!(matches!(channels, 1 | 3), "an image has 1 or 3 channels, found {channels}");
    assert!(height * width > 0, "an image has pixels, found {height} x {width}");
    let mut pixels = Vec::with_capacity(paths.len() * channels * height * width);
    let mut hashes = Vec::with_capacity(paths.len());
    // Blocks bound the memory. Within one, the first error in the order of names is returned, whichever thread finds
    // one first.
    for block in paths.chunks(BLOCK) {
        for read in block.par_iter().map(|path| read(path, shape, resize)).collect::<Vec<_>>() {
            let (image, sha256) = read?;
            pixels.extend(image);
            hashes.push(sha256);
        }
    }
    Ok((RawImages { pixels, labels: None, count: paths.len(), channels, height, width }, hashes))
}

fn read(
    path: &Path,
    [channels, height, width]: [usize; 3],
    resize: Option<Resize>,
) -> Result<(Vec<u8>, String), DataError> {
    let bytes = bytes(path)?;
    let image = decode(&bytes)
        .and_then(|image| with_channels(&image, channels))
        .and_then(|image| fit(image, [height, width], resize))
        .map_err(picture_error(path))?;
    let planes = (0..channels).flat_map(|c| image.as_bytes().iter().skip(c).step_by(channels)).copied().collect();
    Ok((planes, sha256([bytes])))
}

fn bytes(path: &Path) -> Result<Vec<u8>, DataError> {
    files::bytes(path, LARGEST)
}

fn picture_error(path: &Path) -> impl Fn(String) -> DataError {
    move |problem| DataError::Picture { path: path.to_owned(), problem }
}

fn decode(bytes: &[u8]) -> Result<DynamicImage, String> {
    let (decoder, orientation) = open(bytes)?;
    if decoder.total_bytes() > LARGEST {
        let (width, height) = decoder.dimensions();
        return Err(format!("{height} x {width} pixels are more than {} MiB", LARGEST >> 20));
    }
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Reads the header of a file; the format is recognised by its content.
fn open(bytes: &[u8]) -> Result<(impl ImageDecoder + '_, Orientation), String> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    // The decoder would fill a missing part with grey. What follows the end belongs to no picture: cameras and editors
    // put data of their own there.
    if reader.format() == Some(ImageFormat::Jpeg) && jpeg_end(bytes).is_none() {
        return Err("the file is cut off: the end marker of JPEG is missing".to_owned());
    }
    let mut decoder = reader.into_decoder().map_err(|error| error.to_string())?;
    let orientation = decoder.orientation().map_err(|error| error.to_string())?;
    Ok((decoder, orientation))
}

/// Where a JPEG file ends: after its end marker. Segments are skipped by their lengths, because a thumbnail inside one
/// has an end marker too.
fn jpeg_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        // In coded data, 0xff is followed by 0x00, or by a restart marker; fill bytes may come before any marker.
        while *bytes.get(at)? != 0xff || matches!(*bytes.get(at + 1)?, 0x00 | 0x01 | 0xd0..=0xd7 | 0xff) {
            at += 1;
        }
        match bytes[at + 1] {
            0xd9 => return Some(at + 2),
            _ => at += 2 + usize::from(u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?])).max(2),
        }
    }
}

fn describe(decoder: &impl ImageDecoder, orientation: Orientation) -> String {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let (width, height) = decoder.dimensions();
    let turned = matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH);
    let (height, width) = if turned { (width, height) } else { (height, width) };
    let colour = decoder.color_type();
    let kind = if colour.has_color() { "colour" } else { "grey" };
    let alpha = if colour.has_alpha() { " with alpha" } else { "" };
    let bits = 8 * colour.bytes_per_pixel() / colour.channel_count();
    format!("{height} x {width}, {kind}{alpha}, {bits} bits per channel")
}

/// The picture with one or three channels; an error if the conversion is lossy.
fn with_channels(image: &DynamicImage, channels: usize) -> Result<DynamicImage, String> {
    let color = image.color();
    if !matches!(color, ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8) {
        return Err("it has more than 8 bits per channel; save it with 8".to_owned());
    }
    let stored = usize::from(color.channel_count());
    let mut pixels = image.as_bytes().chunks_exact(stored);
    if color.has_alpha() && pixels.clone().any(|pixel| pixel[stored - 1] != 255) {
        return Err("it has transparent pixels; save it on a background, without alpha".to_owned());
    }
    let (width, height) = (image.width(), image.height());
    if channels == 3 {
        let rgb = |pixel: &[u8]| if color.has_color() { [pixel[0], pixel[1], pixel[2]] } else { [pixel[0]; 3] };
        let rgb = RgbImage::from_raw(width, height, pixels.flat_map(rgb).collect());
        return Ok(rgb.expect("three bytes a pixel").into());
    }
    if color.has_color() && pixels.any(|pixel| pixel[0] != pixel[1] || pixel[1] != pixel[2]) {
        return Err("it is in colour and a grey image is wanted; convert it, or ask for 3 channels".to_owned());
    }
    let grey = GrayImage::from_raw(width, height, image.as_bytes().iter().step_by(stored).copied().collect());
    Ok(grey.expect("one byte a pixel").into())
}

fn fit(image: DynamicImage, [h, w]: [usize; 2], resize: Option<Resize>) -> Result<DynamicImage, String> {
    let (height, width) = (image.height() as usize, image.width() as usize);
    if (height, width) == (h, w) {
        return Ok(image);
    }
    let Some(resize) = resize else {
        return Err(format!(
            "it has {height} x {width} pixels (height x width) and {h} x {w} are wanted; resize it, or have it resized \
             with a filter: nearest, triangle, catmull-rom, gaussian or lanczos3"
        ));
    };
    let image = match resize.crop {
        Crop::None => image,
        Crop::Center => {
            let (rows, columns) = window(height, width, h, w);
            let (top, left) = ((height - rows) / 2, (width - columns) / 2);
            image.crop_imm(left as u32, top as u32, columns as u32, rows as u32)
        }
    };
    Ok(image.resize_exact(w as u32, h as u32, resize.filter.into()))
}

/// Rows and columns of the largest window in `height x width` with the aspect ratio `h : w`, to the nearest pixel.
fn window(height: usize, width: usize, h: usize, w: usize) -> (usize, usize) {
    if width * h > height * w {
        (height, ((height * w + h / 2) / h).max(1))
    } else {
        (((width * h + w / 2) / w).max(1), width)
    }
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;
    use image::{ExtendedColorType, ImageEncoder as _};

    use super::*;

    fn png(width: u32, height: u32, kind: ExtendedColorType, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        image::codecs::png::PngEncoder::new(&mut out).write_image(bytes, width, height, kind).unwrap();
        out
    }

    /// A smooth colour picture of 16 x 24 pixels, bright on the left.
    fn jpeg(exif: Option<Vec<u8>>) -> Vec<u8> {
        let pixel = |i: usize| [250 - 10 * (i % 24) as u8, 100, 30];
        let bytes: Vec<u8> = (0..16 * 24).flat_map(pixel).collect();
        let mut out = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut out, 100);
        exif.into_iter().for_each(|exif| encoder.set_exif_metadata(exif).unwrap());
        encoder.write_image(&bytes, 24, 16, ExtendedColorType::Rgb8).unwrap();
        out
    }

    /// A big-endian EXIF block with one entry, the orientation.
    fn orientation(value: u8) -> Option<Vec<u8>> {
        let mut exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
        exif.extend([value, 0, 0, 0, 0, 0, 0]);
        Some(exif)
    }

    fn read_bytes(bytes: &[u8], shape: [usize; 3], resize: Option<Resize>) -> Result<Vec<u8>, DataError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        std::fs::write(&path, bytes).unwrap();
        load(&path, shape, resize).map(|named| named.images.pixels)
    }

    #[test]
    fn pixels_become_planes_and_only_lossless_conversions_are_made() {
        use ExtendedColorType::{L8, L16, La8, Rgb8, Rgb16, Rgba8};
        let rgb = png(2, 1, Rgb8, &[1, 2, 3, 4, 5, 6]);
        assert_eq!(read_bytes(&rgb, [3, 1, 2], None).unwrap(), [1, 4, 2, 5, 3, 6]);
        let grey = png(2, 1, L8, &[7, 9]);
        assert_eq!(read_bytes(&grey, [1, 1, 2], None).unwrap(), [7, 9]);
        assert_eq!(read_bytes(&grey, [3, 1, 2], None).unwrap(), [7, 9, 7, 9, 7, 9]);
        let grey_as_rgb = png(2, 1, Rgb8, &[7, 7, 7, 9, 9, 9]);
        assert_eq!(read_bytes(&grey_as_rgb, [1, 1, 2], None).unwrap(), [7, 9]);
        let opaque = png(1, 1, Rgba8, &[1, 2, 3, 255]);
        assert_eq!(read_bytes(&opaque, [3, 1, 1], None).unwrap(), [1, 2, 3]);
        assert_eq!(read_bytes(&png(1, 1, La8, &[8, 255]), [1, 1, 1], None).unwrap(), [8]);
        for (bytes, channels, part) in [
            (png(1, 1, Rgb8, &[1, 2, 3]), 1, "in colour and a grey image is wanted"),
            (png(1, 1, Rgba8, &[1, 2, 3, 254]), 3, "transparent"),
            (png(1, 1, La8, &[1, 0]), 1, "transparent"),
            (png(1, 1, L16, &[1, 2]), 1, "more than 8 bits"),
            (png(1, 1, Rgb16, &[1; 6]), 3, "more than 8 bits"),
            (b"no picture at all".to_vec(), 3, "format"),
            (rgb[..rgb.len() - 20].to_vec(), 3, ""),
            (Vec::new(), 1, "format"),
        ] {
            let message = read_bytes(&bytes, [channels, 1, 1], None).unwrap_err().to_string();
            assert!(message.contains("a.png: ") && message.contains(part), "{message}");
        }
    }

    #[test]
    fn jpegs_are_read_turned_upright_and_must_be_whole() {
        let upright = read_bytes(&jpeg(None), [3, 16, 24], None).unwrap();
        let near = |a: u8, b: u8| a.abs_diff(b) <= 4;
        assert!(near(upright[0], 250) && near(upright[23], 20) && near(upright[16 * 24], 100), "{:?}", &upright[..24]);
        let turned = read_bytes(&jpeg(orientation(6)), [3, 24, 16], None).unwrap();
        // A quarter turn clockwise brings the bright left edge to the top.
        assert!(near(turned[0], 250) && near(turned[15], 250) && near(turned[23 * 16], 20), "{:?}", &turned[..16]);
        let whole = jpeg(None);
        for length in [whole.len() - 2, whole.len() / 2, 300] {
            let message = read_bytes(&whole[..length], [3, 16, 24], None).unwrap_err().to_string();
            assert!(message.contains("cut off"), "{message}");
        }
        let mut with_tail = whole.clone();
        with_tail.extend(b"some cameras append notes, \xff\xda and such bytes too");
        assert_eq!(read_bytes(&with_tail, [3, 16, 24], None).unwrap(), upright);
        // The end marker of a thumbnail in the head does not stand for that of the picture.
        let thumbnail = jpeg(Some(whole.clone()));
        assert!(read_bytes(&thumbnail, [3, 16, 24], None).is_ok());
        let message = read_bytes(&thumbnail[..thumbnail.len() - 2], [3, 16, 24], None).unwrap_err().to_string();
        assert!(message.contains("cut off"), "{message}");
    }

    #[test]
    fn another_size_is_refused_or_cropped_and_resized() {
        // Grey, 2 x 6: columns 0, 40, ..., 200.
        let wide = png(6, 2, ExtendedColorType::L8, &[0, 40, 80, 120, 160, 200, 0, 40, 80, 120, 160, 200]);
        let message = read_bytes(&wide, [1, 2, 2], None).unwrap_err().to_string();
        for part in ["2 x 6 pixels", "2 x 2 are wanted", "lanczos3"] {
            assert!(message.contains(part), "{message}");
        }
        let to = |h, w, crop, filter| read_bytes(&wide, [1, h, w], Some(Resize { crop, filter })).unwrap();
        assert_eq!(to(2, 2, Crop::Center, ResizeFilter::Nearest), [80, 120, 80, 120]);
        assert_eq!(to(1, 1, Crop::Center, ResizeFilter::Triangle), [100]);
        assert_eq!(to(2, 6, Crop::Center, ResizeFilter::Lanczos3), to(2, 6, Crop::None, ResizeFilter::Nearest));
        let stretched = to(1, 2, Crop::None, ResizeFilter::Triangle);
        assert!(stretched[0] < 70 && stretched[1] > 130, "{stretched:?}");
        assert_eq!(to(2, 4, Crop::Center, ResizeFilter::Nearest), [40, 80, 120, 160, 40, 80, 120, 160]);
        assert_eq!(window(218, 178, 64, 64), (178, 178));
        assert_eq!(window(100, 300, 10, 20), (100, 200));
        assert_eq!(window(1, 1000, 100, 1), (1, 1));
        assert_eq!("catmull-rom".parse::<ResizeFilter>(), Ok(ResizeFilter::CatmullRom));
        let message = "cubic".parse::<ResizeFilter>().unwrap_err().to_string();
        assert!(message.contains("cubic") && message.contains("`triangle`"), "{message}");
    }

    #[test]
    fn a_folder_is_read_in_the_order_of_names() {
        let dir = tempfile::tempdir().unwrap();
        let grey = |value: u8| png(1, 1, ExtendedColorType::L8, &[value]);
        for (name, value) in [("b.PNG", 2), ("a.png", 1), ("c.jpg", 3), ("._a.png", 9), ("notes.txt", 9)] {
            std::fs::write(dir.path().join(name), grey(value)).unwrap();
        }
        std::fs::create_dir(dir.path().join("d.png")).unwrap();
        let named = load(dir.path(), [1, 1, 1], None).unwrap();
        assert_eq!(named.names, ["a.png", "b.PNG", "c.jpg"]);
        assert_eq!((named.images.pixels, named.images.count, named.images.labels), (vec![1, 2, 3], 3, None));
        let one = load(&dir.path().join("b.PNG"), [1, 1, 1], None).unwrap();
        assert_eq!((one.names, one.images.pixels), (vec!["b.PNG".to_owned()], vec![2]));
        std::fs::write(dir.path().join("a.png"), jpeg(orientation(6))).unwrap();
        let kinds = survey(dir.path()).unwrap();
        let kind = |size: &str, kind: &str, count| (format!("{size}, {kind}, 8 bits per channel"), count);
        assert_eq!(kinds, [kind("1 x 1", "grey", 2), kind("24 x 16", "colour", 1)]);
        let message = load(&dir.path().join("d.png"), [1, 1, 1], None).unwrap_err().to_string();
        assert!(message.contains("d.png: the folder holds no .png"), "{message}");
        let message = load(&dir.path().join("e.png"), [1, 1, 1], None).unwrap_err().to_string();
        assert!(message.contains("cannot read") && message.contains("e.png"), "{message}");
    }

    #[test]
    fn the_order_of_many_files_does_not_depend_on_threads() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..2 * BLOCK + 3 {
            let bytes = png(2, 1, ExtendedColorType::L8, &[(i % 256) as u8, (i / 256) as u8]);
            std::fs::write(dir.path().join(format!("{i:05}.png")), bytes).unwrap();
        }
        let named = load(dir.path(), [1, 1, 2], None).unwrap();
        for (i, image) in named.images.pixels.chunks(2).enumerate() {
            assert_eq!(image, [(i % 256) as u8, (i / 256) as u8]);
        }
        for broken in ["00007.png", "00200.png"] {
            std::fs::write(dir.path().join(broken), b"").unwrap();
        }
        let message = load(dir.path(), [1, 1, 2], None).unwrap_err().to_string();
        assert!(message.contains("00007.png"), "{message}");
    }
}
