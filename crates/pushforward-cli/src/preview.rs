//! Images in a terminal: half-block characters show two rows of pixels in one line of text.

use std::fmt::Write;

use crate::picture::{Tile, common_size};

/// Blank columns between two images of a row.
const GAP: usize = 2;

/// Colours that the terminal supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colours {
    /// Plain text: a pixel is drawn where it is brighter than the middle.
    None,
    /// The grey ramp of the 256-colour palette.
    Grey256,
    /// 24-bit colour.
    True,
}

/// Text that shows `tiles` side by side in lines of at most `width` characters, in as many rows as they need.
///
/// Tiles wider than that are shrunk by a whole factor.
///
/// # Panics
/// If there are no tiles or their sizes differ.
pub(crate) fn preview(tiles: &[Tile], width: usize, colours: Colours) -> String {
    let (_, tile_width) = common_size(tiles);
    let factor = tile_width.div_ceil(width.max(1)).max(1);
    let tiles: Vec<Tile> = tiles.iter().map(|tile| shrink(tile, factor)).collect();
    let (tile_height, tile_width) = common_size(&tiles);
    let columns = ((width + GAP) / (tile_width + GAP)).max(1);

    let mut text = String::new();
    for (index, row) in tiles.chunks(columns).enumerate() {
        if index > 0 {
            text.push('\n');
        }
        for y in (0..tile_height).step_by(2) {
            let cells: Vec<String> = row.iter().map(|tile| half_line(tile, y, colours)).collect();
            let line = cells.join(&" ".repeat(GAP));
            text.push_str(line.trim_end_matches(' '));
            text.push('\n');
        }
    }
    text
}

/// One text line of one tile: pixel rows `y` and `y + 1`.
fn half_line(tile: &Tile, y: usize, colours: Colours) -> String {
    let (height, width) = tile.size();
    let below = |x| (y + 1 < height).then(|| tile.rgb_at(y + 1, x));
    let mut line = String::new();
    for x in 0..width {
        let (top, bottom) = (tile.rgb_at(y, x), below(x));
        match colours {
            Colours::None => line.push(block(bright(top), bottom.is_some_and(bright))),
            // The upper half takes the foreground colour, the lower half the background; a last odd row leaves the
            // background alone.
            Colours::Grey256 => {
                let _ = write!(line, "\x1b[38;5;{}m", grey256(top));
                if let Some(bottom) = bottom {
                    let _ = write!(line, "\x1b[48;5;{}m", grey256(bottom));
                }
                line.push('▀');
            }
            Colours::True => {
                let [red, green, blue] = top;
                let _ = write!(line, "\x1b[38;2;{red};{green};{blue}m");
                if let Some([red, green, blue]) = bottom {
                    let _ = write!(line, "\x1b[48;2;{red};{green};{blue}m");
                }
                line.push('▀');
            }
        }
    }
    if colours != Colours::None {
        line.push_str("\x1b[0m");
    }
    line
}

fn block(top: bool, bottom: bool) -> char {
    match (top, bottom) {
        (true, true) => '█',
        (true, false) => '▀',
        (false, true) => '▄',
        (false, false) => ' ',
    }
}

fn bright(rgb: [u8; 3]) -> bool {
    luma(rgb) >= 128
}

/// Brightness as perceived, ITU-R BT.601 weights in thousandths.
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    let sum = 299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue);
    u8::try_from((sum + 500) / 1000).expect("a weighted mean of bytes is a byte")
}

/// Palette entry nearest in brightness: black 16, then 24 greys from 8 to 238 in steps of 10 at 232, then white 231.
fn grey256(rgb: [u8; 3]) -> u8 {
    match luma(rgb) {
        0..=3 => 16,
        level @ 4..=246 => 232 + (level.saturating_sub(3) / 10).min(23),
        247..=255 => 231,
    }
}

/// The image with each box of `factor` x `factor` pixels replaced by its mean; boxes at the edges may be smaller.
fn shrink(tile: &Tile, factor: usize) -> Tile {
    if factor == 1 {
        return tile.clone();
    }
    let (height, width) = tile.size();
    let mut pixels = Vec::new();
    for top in (0..height).step_by(factor) {
        for left in (0..width).step_by(factor) {
            let (bottom, right) = ((top + factor).min(height), (left + factor).min(width));
            let area = (bottom - top) * (right - left);
            let mut sums = [0usize; 3];
            for (y, x) in (top..bottom).flat_map(|y| (left..right).map(move |x| (y, x))) {
                for (sum, level) in sums.iter_mut().zip(tile.rgb_at(y, x)) {
                    *sum += usize::from(level);
                }
            }
            pixels.extend(sums.map(|sum| u8::try_from(sum / area).expect("a mean of bytes is a byte")));
        }
    }
    Tile::rgb(height.div_ceil(factor), width.div_ceil(factor), pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(height: usize, rows: &[&str]) -> Tile {
        let pixels: Vec<u8> = rows.concat().chars().map(|c| if c == '#' { 255 } else { 0 }).collect();
        Tile::grey(height, rows[0].len(), pixels)
    }

    #[test]
    fn the_four_blocks() {
        let tile = binary(2, &["##..", "#.#."]);
        assert_eq!(preview(&[tile], 80, Colours::None), "█▀▄\n");
    }

    #[test]
    fn an_odd_last_row_is_an_upper_half() {
        let tile = binary(3, &["#", "#", "#"]);
        assert_eq!(preview(&[tile], 80, Colours::None), "█\n▀\n");
    }

    #[test]
    fn tiles_go_side_by_side_as_far_as_the_width_allows() {
        let tile = binary(2, &["##", "##"]);
        let tiles = vec![tile; 3];
        assert_eq!(preview(&tiles, 10, Colours::None), "██  ██  ██\n");
        assert_eq!(preview(&tiles, 9, Colours::None), "██  ██\n\n██\n");
        assert_eq!(preview(&tiles, 2, Colours::None), "██\n\n██\n\n██\n");
    }

    #[test]
    fn lines_never_pass_the_width() {
        let tile = Tile::grey(16, 16, vec![255; 256]);
        for width in 1..60 {
            let text = preview(&vec![tile.clone(); 5], width, Colours::None);
            let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(longest <= width, "{longest} characters for a width of {width}");
        }
    }

    #[test]
    fn wide_tiles_shrink_to_their_mean() {
        let tile = Tile::grey(2, 4, vec![0, 100, 200, 200, 100, 200, 200, 200]);
        assert_eq!(shrink(&tile, 2), Tile::rgb(1, 2, vec![100, 100, 100, 200, 200, 200]));
        assert_eq!(preview(&[tile], 2, Colours::None), " ▀\n");
    }

    #[test]
    fn true_colour_writes_both_halves_and_resets() {
        let tile = Tile::rgb(2, 1, vec![1, 2, 3, 4, 5, 6]);
        assert_eq!(preview(&[tile], 80, Colours::True), "\x1b[38;2;1;2;3m\x1b[48;2;4;5;6m▀\x1b[0m\n");
        let single = Tile::rgb(1, 1, vec![1, 2, 3]);
        assert_eq!(preview(&[single], 80, Colours::True), "\x1b[38;2;1;2;3m▀\x1b[0m\n");
    }

    #[test]
    fn grey_ramp_is_the_nearest_palette_entry() {
        // The palette's levels, from its definition: black, the 24 greys of the ramp, white.
        let palette = |entry: u8| match entry {
            16 => 0,
            231 => 255,
            ramp => 8 + 10 * (i32::from(ramp) - 232),
        };
        let distance = |entry, level: u8| (palette(entry) - i32::from(level)).abs();
        for level in 0..=255u8 {
            let nearest = (232..=255).chain([16, 231]).map(|entry| distance(entry, level)).min().unwrap();
            assert_eq!(distance(grey256([level; 3]), level), nearest, "level {level}");
        }
        assert_eq!(
            preview(&[Tile::grey(2, 1, vec![0, 255])], 80, Colours::Grey256),
            "\x1b[38;5;16m\x1b[48;5;231m▀\x1b[0m\n"
        );
    }
}
