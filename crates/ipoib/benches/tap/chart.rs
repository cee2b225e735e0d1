//! The chart: for each metric a panel, for each subject a bar, as a ratio to the first subject.

use std::fmt::Write;

use super::report::{Report, Spread};

const NAMES: f64 = 90.0;
const PANEL: f64 = 190.0;
const GAP: f64 = 16.0;
const BAR: f64 = 16.0;
const HEAD: f64 = 64.0;
const COLUMNS: usize = 3;

/// The SVG file.
pub(crate) fn draw(report: &Report) -> String {
    let (rows, metrics) = (&report.measured.rows, &report.measured.metrics);
    let height = HEAD + rows.len() as f64 * BAR;
    let panels = metrics.len().div_ceil(COLUMNS);
    let (all_w, all_h) = (NAMES + COLUMNS as f64 * (PANEL + GAP), 24.0 + panels as f64 * height);
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {all_w} {all_h}\" font-family=\"sans-serif\" \
         font-size=\"10\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"6\" y=\"15\">{}, commit {}; ratio to {}, median and quartiles of {} rounds</text>",
        escape(&report.machine),
        escape(&report.commit),
        rows.first().map_or("", |row| row.subject.name),
        report.measured.plan.rounds,
    );
    for (m, metric) in metrics.iter().enumerate() {
        let (left, top) =
            (NAMES + (m % COLUMNS) as f64 * (PANEL + GAP), 24.0 + (m / COLUMNS) as f64 * height);
        let less = if metric.more_is_better { "" } else { " (less is better)" };
        let _ = writeln!(
            out,
            "<text x=\"{left}\" y=\"{}\" font-weight=\"bold\">{}{less}</text>",
            top + 26.0,
            metric.name
        );
        let ratios: Vec<Option<Spread>> = rows.iter().map(|row| report.ratio(m, row, &rows[0])).collect();
        let most = ratios.iter().flatten().fold(1.0_f64, |most, ratio| most.max(ratio.high));
        let scale = (PANEL - 40.0) / most;
        for (r, (row, ratio)) in rows.iter().zip(&ratios).enumerate() {
            let y = top + 34.0 + r as f64 * BAR;
            if m % COLUMNS == 0 {
                let _ = writeln!(
                    out,
                    "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
                    left - 6.0,
                    y + 10.0,
                    row.subject.name
                );
            }
            if let Some(ratio) = ratio {
                bar(&mut out, (left, y), scale, ratio, row.subject.name);
            }
        }
        let one = left + scale;
        let _ = writeln!(
            out,
            "<line x1=\"{one}\" x2=\"{one}\" y1=\"{}\" y2=\"{}\" stroke=\"#888\" stroke-dasharray=\"2\"/>",
            top + 32.0,
            top + 32.0 + rows.len() as f64 * BAR
        );
    }
    out + "</svg>\n"
}

fn bar(out: &mut String, (left, y): (f64, f64), scale: f64, ratio: &Spread, subject: &str) {
    // Ours stand out.
    let ours = ["lab", "isolate", "udp"].iter().any(|name| subject.starts_with(name));
    let color = if ours { "#d95f02" } else { "#9ecae1" };
    let _ = writeln!(
        out,
        "<rect x=\"{left}\" y=\"{y}\" width=\"{:.1}\" height=\"{}\" fill=\"{color}\"/>\
         <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{}\" y2=\"{}\" stroke=\"#333\"/>\
         <text x=\"{:.1}\" y=\"{}\">{:.2}</text>",
        ratio.median * scale,
        BAR - 4.0,
        left + ratio.low * scale,
        left + ratio.high * scale,
        y + 6.0,
        y + 6.0,
        left + ratio.high * scale + 4.0,
        y + 10.0,
        ratio.median,
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
