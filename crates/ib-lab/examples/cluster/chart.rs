//! The load over time as a picture.

use std::{fmt::Write, time::Duration};

use crate::scene::Load;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 40.0;

/// Stacked bars, one a slot, with a line where each step begins.
pub(crate) fn draw(load: &[Load], slot: Duration, marks: &[(usize, &str)]) -> String {
    let most = load.iter().map(|load| load.all()).max().unwrap_or(0).max(1) as f64;
    let (step, scale) = (WIDTH / load.len().max(1) as f64, HEIGHT / most);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        LEFT + WIDTH + 20.0,
        TOP + HEIGHT + 60.0
    );
    for (i, load) in load.iter().enumerate() {
        let mut base = TOP + HEIGHT;
        for (count, color) in [(load.paths, "#3b6ea5"), (load.groups, "#c8843c"), (load.others, "#8a8a8a")] {
            let height = count as f64 * scale;
            base -= height;
            if count > 0 {
                let x = LEFT + i as f64 * step;
                let _ = writeln!(
                    svg,
                    "<rect x=\"{x:.1}\" y=\"{base:.1}\" width=\"{step:.1}\" height=\"{height:.1}\" fill=\"{color}\"/>"
                );
            }
        }
    }
    for (i, (first, name)) in marks.iter().enumerate() {
        let x = LEFT + *first as f64 * step;
        let y = TOP - 8.0 - 14.0 * (i % 2) as f64;
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"#555\" stroke-dasharray=\"3\"/>\n\
             <text x=\"{x:.1}\" y=\"{y:.1}\">{name}</text>",
            TOP + HEIGHT
        );
    }
    let bottom = TOP + HEIGHT;
    let _ = writeln!(
        svg,
        "<line x1=\"{LEFT}\" y1=\"{bottom}\" x2=\"{}\" y2=\"{bottom}\" stroke=\"black\"/>",
        LEFT + WIDTH
    );
    for part in 0..=4 {
        let value = most * f64::from(part) / 4.0 / slot.as_secs_f64();
        let y = bottom - HEIGHT * f64::from(part) / 4.0;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value:.0}/s</text>",
            LEFT - 6.0,
            y + 4.0
        );
    }
    let seconds = load.len() as f64 * slot.as_secs_f64();
    for second in (0..).step_by(10).take_while(|second| f64::from(*second) <= seconds) {
        let x = LEFT + WIDTH * f64::from(second) / seconds.max(1.0);
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{second} s</text>",
            bottom + 18.0
        );
    }
    for (i, (color, name)) in
        [("#3b6ea5", "paths"), ("#c8843c", "joins and leaves"), ("#8a8a8a", "others")].iter().enumerate()
    {
        let x = LEFT + 150.0 * i as f64;
        let y = bottom + 34.0;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"12\" height=\"12\" fill=\"{color}\"/><text x=\"{}\" y=\"{}\">{name}</text>",
            x + 18.0,
            y + 11.0
        );
    }
    svg + "</svg>\n"
}
