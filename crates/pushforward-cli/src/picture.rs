//! PNG pictures of several images in a grid.

use std::io::Cursor;

use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};

/// Side that small images are enlarged to, in pixels of the picture: 16x16 becomes 64x64.
const COMFORTABLE_SIDE: usize = 64;

/// Grey level of the lines between tiles: neither the black nor the white of a binary image.
const GAP_LEVEL: u8 = 96;

/// One image, 8 bits a channel, rows from the top.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tile {
    /// One byte a pixel, 0 black.
    Grey {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// `height * width` bytes.
        pixels: Vec<u8>,
    },
    /// Three bytes a pixel: red, green, blue.
    Rgb {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// `height * width * 3` bytes.
        pixels: Vec<u8>,
    },
}

impl Tile {
    /// A grey image.
    ///
    /// # Panics
    /// If `pixels` does not hold `height * width` bytes.
    pub(crate) fn grey(height: usize, width: usize, pixels: Vec<u8>) -> Self {
        assert_eq!(pixels.len(), height * width, "a grey tile of {height}x{width} needs {} bytes", height * width);
        Self::Grey { height, width, pixels }
    }

    /// A colour image with interleaved channels.
    ///
    /// # Panics
    /// If `pixels` does not hold `height * width * 3` bytes.
    pub(crate) fn rgb(height: usize, width: usize, pixels: Vec<u8>) -> Self {
        let bytes = height * width * 3;
        assert_eq!(pixels.len(), bytes, "a colour tile of {height}x{width} needs {bytes} bytes");
        Self::Rgb { height, width, pixels }
    }

    /// An image of shape `[channels, height, width]` whose planes follow each other.
    ///
    /// # Panics
    /// If there are neither 1 nor 3 channels, or `planes` has another size.
    pub(crate) fn planes([channels, height, width]: [usize; 3], planes: &[u8]) -> Self {
        let area = height * width;
        match channels {
            1 => Self::grey(height, width, planes.to_vec()),
            3 => {
                assert_eq!(planes.len(), 3 * area, "planes of {height}x{width} need {} bytes", 3 * area);
                let interleaved = (0..area).flat_map(|at| [planes[at], planes[area + at], planes[2 * area + at]]);
                Self::rgb(height, width, interleaved.collect())
            }
            _ => panic!("a tile has 1 or 3 channels, found {channels}"),
        }
    }

    /// Height and width.
    pub(crate) fn size(&self) -> (usize, usize) {
        let (Self::Grey { height, width, .. } | Self::Rgb { height, width, .. }) = self;
        (*height, *width)
    }

    /// Red, green and blue of one pixel; all equal for a grey image.
    pub(crate) fn rgb_at(&self, row: usize, column: usize) -> [u8; 3] {
        match self {
            Self::Grey { width, pixels, .. } => [pixels[row * width + column]; 3],
            Self::Rgb { width, pixels, .. } => {
                let at = (row * width + column) * 3;
                [pixels[at], pixels[at + 1], pixels[at + 2]]
            }
        }
    }
}

/// Tiles of one size, laid out row by row with a line of `gap` pixels between and around them.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    /// The images, at least one.
    pub(crate) tiles: Vec<Tile>,
    /// Tiles in a row.
    pub(crate) columns: usize,
    /// Side of the square of picture pixels that shows one image pixel.
    pub(crate) scale: usize,
    /// Width of the lines, in picture pixels.
    pub(crate) gap: usize,
}

impl Grid {
    /// A nearly square grid, with small images enlarged.
    ///
    /// # Panics
    /// If there are no tiles, or their sizes differ.
    pub(crate) fn new(tiles: Vec<Tile>) -> Self {
        let (height, width) = common_size(&tiles);
        let side = height.max(width).max(1);
        let columns = columns_near_square(tiles.len(), height, width);
        Self { tiles, columns, scale: ((COMFORTABLE_SIDE + side / 2) / side).max(1), gap: 2 }
    }

    /// Height and width of the picture in pixels.
    ///
    /// # Panics
    /// As [`Grid::png`].
    pub(crate) fn size(&self) -> (u32, u32) {
        let (height, width) = common_size(&self.tiles);
        let columns = self.columns.min(self.tiles.len());
        let rows = self.tiles.len().div_ceil(columns);
        let side = |n: usize, tile: usize| {
            u32::try_from(n * (tile * self.scale + self.gap) + self.gap)
                .expect("a picture has fewer than 2^32 pixels a side")
        };
        (side(rows, height), side(columns, width))
    }

    /// The picture as PNG: grey if every tile is, else colour.
    ///
    /// # Panics
    /// If there are no tiles, their sizes differ, or `columns` or `scale` is 0.
    pub(crate) fn png(&self) -> Vec<u8> {
        let (height, width) = common_size(&self.tiles);
        assert!(self.columns > 0 && self.scale > 0, "a grid needs at least one column and a scale of at least 1");
        let colour = self.tiles.iter().any(|tile| matches!(tile, Tile::Rgb { .. }));
        let channels = if colour { 3 } else { 1 };
        let columns = self.columns.min(self.tiles.len());
        let (picture_height, picture_width) = self.size();
        let (rows, stride) = (picture_height as usize, picture_width as usize);
        let mut picture = vec![GAP_LEVEL; rows * stride * channels];
        for (index, tile) in self.tiles.iter().enumerate() {
            let top = self.gap + (index / columns) * (height * self.scale + self.gap);
            let left = self.gap + (index % columns) * (width * self.scale + self.gap);
            for y in 0..height * self.scale {
                for x in 0..width * self.scale {
                    let at = ((top + y) * stride + left + x) * channels;
                    let rgb = tile.rgb_at(y / self.scale, x / self.scale);
                    picture[at..at + channels].copy_from_slice(&rgb[..channels]);
                }
            }
        }

        let mut png = Cursor::new(Vec::new());
        let pixel = if colour { ExtendedColorType::Rgb8 } else { ExtendedColorType::L8 };
        PngEncoder::new(&mut png)
            .write_image(&picture, picture_width, picture_height, pixel)
            .expect("encoding into memory fails only for a buffer of the wrong size");
        png.into_inner()
    }
}

/// Height and width shared by all tiles.
///
/// # Panics
/// If there are no tiles, or their sizes differ.
pub(crate) fn common_size(tiles: &[Tile]) -> (usize, usize) {
    let size = tiles.first().expect("a grid needs at least one tile").size();
    for (index, tile) in tiles.iter().enumerate() {
        assert_eq!(tile.size(), size, "tile {index} and tile 0 differ in (height, width)");
    }
    size
}

/// The number of columns whose picture is closest to a square; of two, the wider.
///
/// A layout that fills its last row wins over a slightly squarer one that does not: 8 tiles are 4x2, not 3x3.
fn columns_near_square(count: usize, height: usize, width: usize) -> usize {
    let badness = |columns: usize| {
        let rows = count.div_ceil(columns);
        let aspect = (columns * width.max(1)) as f64 / (rows * height.max(1)) as f64;
        let empty = (rows * columns - count) as f64 / count as f64;
        aspect.ln().abs() + 8.0 * empty - if aspect >= 1.0 { 1e-6 } else { 0.0 }
    };
    (1..=count).min_by(|a, b| badness(*a).total_cmp(&badness(*b))).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(png: &[u8]) -> image::DynamicImage {
        image::load_from_memory(png).unwrap()
    }

    #[test]
    fn default_layout_is_near_square_and_readable() {
        let grid =
            |count: usize, height, width| Grid::new(vec![Tile::grey(height, width, vec![0; height * width]); count]);
        let columns = |count| grid(count, 16, 16).columns;
        assert_eq!([1, 2, 3, 4, 6, 8, 9, 16, 20, 64, 100].map(columns), [1, 2, 3, 2, 3, 4, 3, 4, 5, 8, 10]);
        assert_eq!([grid(1, 16, 16).scale, grid(1, 28, 28).scale, grid(1, 200, 200).scale], [4, 2, 1]);
        assert_eq!(grid(12, 8, 32).columns, 2, "wide tiles stack up");
    }

    #[test]
    fn every_pixel_of_a_small_grey_grid() {
        let tiles =
            vec![Tile::grey(1, 2, vec![10, 20]), Tile::grey(1, 2, vec![30, 40]), Tile::grey(1, 2, vec![50, 60])];
        let picture = decode(&Grid { tiles, columns: 2, scale: 2, gap: 1 }.png());
        assert_eq!(picture.color(), image::ColorType::L8);
        let g = GAP_LEVEL;
        #[rustfmt::skip]
        let expected = [
            g,  g,  g,  g,  g, g,  g,  g,  g,  g, g,
            g, 10, 10, 20, 20, g, 30, 30, 40, 40, g,
            g, 10, 10, 20, 20, g, 30, 30, 40, 40, g,
            g,  g,  g,  g,  g, g,  g,  g,  g,  g, g,
            g, 50, 50, 60, 60, g,  g,  g,  g,  g, g,
            g, 50, 50, 60, 60, g,  g,  g,  g,  g, g,
            g,  g,  g,  g,  g, g,  g,  g,  g,  g, g,
        ];
        assert_eq!((picture.width(), picture.height()), (11, 7));
        assert_eq!(picture.to_luma8().into_raw(), expected);
    }

    #[test]
    fn one_colour_tile_makes_a_colour_picture() {
        let tiles = vec![Tile::rgb(1, 1, vec![1, 2, 3]), Tile::grey(1, 1, vec![9])];
        let picture = decode(&Grid { tiles, columns: 2, scale: 1, gap: 0 }.png());
        assert_eq!(picture.color(), image::ColorType::Rgb8);
        assert_eq!(picture.to_rgb8().into_raw(), [1, 2, 3, 9, 9, 9]);
    }

    #[test]
    fn planes_are_interleaved() {
        let colour = Tile::planes([3, 1, 2], &[1, 2, 3, 4, 5, 6]);
        assert_eq!([colour.rgb_at(0, 0), colour.rgb_at(0, 1)], [[1, 3, 5], [2, 4, 6]]);
        assert_eq!(Tile::planes([1, 2, 1], &[7, 8]), Tile::grey(2, 1, vec![7, 8]));
    }

    #[test]
    #[should_panic(expected = "tile 1 and tile 0 differ")]
    fn tiles_of_different_sizes_are_refused() {
        Grid::new(vec![Tile::grey(1, 1, vec![0]), Tile::grey(1, 2, vec![0, 0])]);
    }

    #[test]
    #[should_panic(expected = "a colour tile of 2x2 needs 12 bytes")]
    fn wrong_pixel_count_is_refused() {
        Tile::rgb(2, 2, vec![0; 4]);
    }
}
