//! Line plots as inline SVG. Colours come from the page's style sheet by class, so that they follow
//! the reader's light or dark mode.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;
/// Classes `line0`, `key0`, … of the style sheet.
const COLOURS: usize = 4;

/// How values are spread over an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Evenly, from zero.
    Linear,
    /// By powers of ten.
    Logarithmic,
    /// Quantiles below 1: every further nine has the same width.
    Nines,
}

/// One axis.
pub(crate) struct Axis {
    pub(crate) name: &'static str,
    pub(crate) scale: Scale,
    /// How a tick is written.
    pub(crate) label: fn(f64) -> String,
}

/// One line of a plot.
pub(crate) struct Line {
    pub(crate) name: String,
    /// By rising x.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A plot with a legend; empty text if no line has a point.
pub(crate) fn plot(title: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let place = |&(at, value): &(f64, f64)| Some((x.place(at)?, y.place(value)?));
    let placed: Vec<Vec<(f64, f64)>> =
        lines.iter().map(|line| line.points.iter().filter_map(place).collect()).collect();
    let Some(frame) = Frame::around(x, y, &placed) else { return String::new() };
    let mut out = format!("<h2>{}</h2>\n<p class=\"legend\">", escape(title));
    for (number, line) in lines.iter().enumerate() {
        let name = escape(&line.name);
        out.push_str(&format!(r#"<span class="key key{}">{name}</span> "#, number % COLOURS));
    }
    out.push_str("</p>\n");
    frame.draw(&mut out, title, x, y, &placed).expect("writing to a string does not fail");
    out
}

/// The part of the plane that is shown, in placed coordinates.
struct Frame {
    x: (f64, f64),
    y: (f64, f64),
}

impl Axis {
    /// Where a value lies before stretching; none if the scale has no place for it.
    fn place(&self, value: f64) -> Option<f64> {
        match self.scale {
            Scale::Linear => Some(value),
            Scale::Logarithmic => (value > 0.0).then(|| value.log10()),
            Scale::Nines => (value < 1.0).then(|| -(1.0 - value).log10()),
        }
    }

    /// The values to mark between two placed ends.
    fn ticks(&self, (from, to): (f64, f64)) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = round_step((to - from) / 5.0);
                let first = (from / step).ceil() as i64;
                let last = (to / step).floor() as i64;
                (first..=last).map(|number| number as f64 * step).collect()
            }
            Scale::Logarithmic => {
                let factors: &[f64] = if to - from > 2.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
                let decades = from.floor() as i32..=to.ceil() as i32;
                decades
                    .flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)))
                    .filter(|value| (from..=to).contains(&value.log10()))
                    .collect()
            }
            Scale::Nines => {
                let common = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999];
                common
                    .into_iter()
                    .filter(|value| self.place(*value).is_some_and(|at| at >= from && at <= to))
                    .collect()
            }
        }
    }
}

/// The next of 1, 2, 5, 10, … that is at least `rough`.
fn round_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= rough);
    factor.unwrap_or(10.0) * power
}

impl Frame {
    fn around(x: &Axis, y: &Axis, lines: &[Vec<(f64, f64)>]) -> Option<Self> {
        let bounds = |axis: &Axis, pick: fn(&(f64, f64)) -> f64| {
            let values = || lines.iter().flatten().map(pick);
            let low = values().reduce(f64::min)?;
            let high = values().reduce(f64::max)?;
            Some(match axis.scale {
                Scale::Linear => (low.min(0.0), if high > 0.0 { high * 1.05 } else { 1.0 }),
                Scale::Logarithmic => (low - 0.1, high + 0.1),
                Scale::Nines => (low.min(0.0), high.max(1.0)),
            })
        };
        Some(Self { x: bounds(x, |point| point.0)?, y: bounds(y, |point| point.1)? })
    }

    fn pixel_x(&self, placed: f64) -> f64 {
        LEFT + (placed - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT)
    }

    fn pixel_y(&self, placed: f64) -> f64 {
        HEIGHT - BOTTOM - (placed - self.y.0) / (self.y.1 - self.y.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn draw(
        &self,
        out: &mut String,
        title: &str,
        x: &Axis,
        y: &Axis,
        lines: &[Vec<(f64, f64)>],
    ) -> std::fmt::Result {
        let title = escape(title);
        writeln!(
            out,
            r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}"><title>{title}</title>"#
        )?;
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in y.ticks(self.y) {
            let at = self.pixel_y(y.place(tick).unwrap_or_default());
            writeln!(
                out,
                r#"<line class="grid" x1="{LEFT}" y1="{at:.1}" x2="{right}" y2="{at:.1}"/><text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                LEFT - 8.0,
                at + 4.0,
                escape(&(y.label)(tick)),
            )?;
        }
        for tick in x.ticks(self.x) {
            let at = self.pixel_x(x.place(tick).unwrap_or_default());
            writeln!(
                out,
                r#"<line class="grid" x1="{at:.1}" y1="{TOP}" x2="{at:.1}" y2="{bottom}"/><text class="tick" x="{at:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                bottom + 18.0,
                escape(&(x.label)(tick)),
            )?;
        }
        for (number, points) in lines.iter().enumerate() {
            write!(out, r#"<polyline class="line line{}" points=""#, number % COLOURS)?;
            for &(at, value) in points {
                write!(out, "{:.1},{:.1} ", self.pixel_x(at), self.pixel_y(value))?;
            }
            writeln!(out, r#""/>"#)?;
        }
        writeln!(
            out,
            r#"<text class="name" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text></svg>"#,
            (LEFT + right) / 2.0,
            HEIGHT - 6.0,
            escape(x.name),
        )
    }
}

/// Text for HTML and SVG, attributes included.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(scale: Scale) -> Axis {
        Axis { name: "x", scale, label: |value| format!("{value}") }
    }

    #[test]
    fn linear_ticks_are_round() {
        assert_eq!(axis(Scale::Linear).ticks((0.0, 105.0)), [0.0, 50.0, 100.0]);
        assert_eq!(axis(Scale::Linear).ticks((0.0, 10.0)), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
    }

    #[test]
    fn logarithmic_ticks_are_within_the_frame() {
        assert_eq!(axis(Scale::Logarithmic).ticks((2.9, 4.1)), [1e3, 2e3, 5e3, 1e4]);
    }

    #[test]
    fn nines_end_before_one() {
        assert_eq!(axis(Scale::Nines).place(1.0), None);
        assert_eq!(axis(Scale::Nines).ticks((0.0, 2.0)), [0.0, 0.5, 0.9, 0.99]);
    }

    #[test]
    fn a_plot_without_points_is_nothing_and_one_point_is_fine() {
        let line = |points| [Line { name: "a".to_owned(), points }];
        let (x, y) = (axis(Scale::Linear), axis(Scale::Logarithmic));
        assert_eq!(plot("t", &x, &y, &line(vec![])), "");
        let drawn = plot("t", &x, &y, &line(vec![(0.0, 5.0)]));
        assert!(drawn.contains("polyline") && !drawn.contains("NaN"), "{drawn}");
    }
}
