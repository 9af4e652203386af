//! Pictures as SVG: texts, rectangles and lines on white.

use std::fmt::Write as _;

/// Colours of data and of samples.
pub(crate) const SETS: [&str; 2] = ["#9aa0a6", "#1a66b8"];

/// A text inside SVG or HTML.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A picture under construction. Places are in pixels from the upper left.
#[derive(Default)]
pub(crate) struct Canvas(String);

impl Canvas {
    /// A text that begins, ends or is centred at a place as `style` says, for instance `text-anchor="end"`.
    pub(crate) fn text(&mut self, [x, y]: [f64; 2], style: &str, text: &str) {
        let text = escaped(text);
        write!(self.0, "<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{text}</text>").expect("a string takes everything");
    }

    /// A letter stretched to a width and a height, which stands on a place.
    pub(crate) fn letter(&mut self, [x, y]: [f64; 2], [width, height]: [f64; 2], fill: &str, letter: char) {
        // A capital of this font is about 7.3 wide and 8.8 high at size 12.
        let (scale, letter) = ([width / 7.3, height / 8.8], escaped(&letter.to_string()));
        write!(
            self.0,
            "<text transform=\"translate({x:.1},{y:.2}) scale({:.3},{:.3})\" fill=\"{fill}\">{letter}</text>",
            scale[0], scale[1]
        )
        .expect("a string takes everything");
    }

    /// A rectangle without a border.
    pub(crate) fn rect(&mut self, [x, y]: [f64; 2], [width, height]: [f64; 2], fill: &str) {
        write!(self.0, "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.2}\" height=\"{height:.1}\" fill=\"{fill}\"/>")
            .expect("a string takes everything");
    }

    /// A line through places.
    pub(crate) fn line(&mut self, places: &[[f64; 2]], stroke: &str, width: f64) {
        let places: Vec<String> = places.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
        let places = places.join(" ");
        write!(self.0, "<polyline points=\"{places}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{width}\"/>")
            .expect("a string takes everything");
    }

    /// The picture.
    pub(crate) fn finish(self, [width, height]: [f64; 2]) -> String {
        let body = self.0;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"DejaVu Sans Mono, monospace\" font-size=\"12\">\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>{body}</svg>\n"
        )
    }
}
