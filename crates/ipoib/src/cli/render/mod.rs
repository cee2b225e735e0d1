//! Tables for people, from the documents that programs read.
//!
//! A field that is missing shows as `-`: the lab may be older or newer than this program. Tables fit 100
//! columns as long as their contents are what a lab has.

mod fabric;
mod host;

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};
use serde_json::Value;

use crate::control::schema::Noun;

/// The table of a noun; nothing if it has no rows. `all` keeps counters that are zero.
pub(super) fn table(noun: Noun, document: &Value, all: bool) -> Option<String> {
    let rows = rows(document, noun.name());
    match noun {
        Noun::Hosts => host::hosts(rows),
        Noun::Neighbors => host::neighbors(rows),
        Noun::Paths => host::paths(rows),
        Noun::Links => fabric::links(rows),
        Noun::Groups => fabric::groups(rows),
        Noun::Routes => fabric::routes(rows),
        Noun::Counters => fabric::counters(rows, all),
        Noun::Sm => fabric::managers(rows),
    }
}

/// The table of `list`.
pub(super) fn labs(document: &Value) -> Option<String> {
    let mut lines = Lines::new(&["LAB", "STATE", "HOSTS>", "SWITCHES>", "LINKS>", "UP>", "PROCESS>"]);
    for lab in rows(document, "labs") {
        let up = lab["uptime_seconds"].as_u64().map_or_else(|| ABSENT.into(), age);
        let counts = ["hosts", "switches", "links"].map(|name| text(lab, name));
        let [hosts, switches, links] = counts;
        lines.add([text(lab, "name"), text(lab, "state"), hosts, switches, links, up, text(lab, "pid")]);
    }
    lines.print()
}

/// A table as it grows. Columns whose heading ends in `>` are numbers, on the right; those whose heading ends in
/// `=` are never broken.
struct Lines {
    table: Table,
    any: bool,
}

impl Lines {
    fn new(headings: &[&str]) -> Self {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(WIDTH);
        table.set_header(headings.iter().map(|heading| heading.trim_end_matches(['>', '='])));
        let count = headings.len();
        for (column, heading) in table.column_iter_mut().zip(headings) {
            let right = if column.index + 1 == count { 0 } else { 2 };
            column.set_padding((0, right));
            if heading.ends_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
            if heading.ends_with(['>', '=']) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        Self { table, any: false }
    }

    fn add<const N: usize>(&mut self, cells: [String; N]) {
        self.any = true;
        self.table.add_row(cells.map(Cell::new));
    }

    /// The text; nothing without rows.
    fn print(&self) -> Option<String> {
        let lines: String = self.table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        self.any.then_some(lines)
    }
}

/// The rows of a document.
fn rows<'a>(document: &'a Value, name: &str) -> &'a [Value] {
    document[name].as_array().map_or(&[], Vec::as_slice)
}

/// A field as text. Control characters could come from a peer's description, and would reach the terminal.
fn text(row: &Value, field: &str) -> String {
    plain(&row[field])
}

fn plain(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.chars().filter(|c| !c.is_control()).collect(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join("\n"),
        other => other.to_string(),
    };
    if text.is_empty() { ABSENT.into() } else { text }
}

/// A number, 0 if there is none.
fn number(row: &Value, field: &str) -> u64 {
    row[field].as_u64().unwrap_or(0)
}

/// A LID: in hex if multicast, nothing if none was given.
fn lid(row: &Value) -> String {
    match number(row, "lid") {
        0 => ABSENT.into(),
        lid @ 0xc000.. => format!("{lid:#06x}"),
        lid => lid.to_string(),
    }
}

/// The lines that say something.
fn stacked<const N: usize>(lines: [String; N]) -> String {
    let said: Vec<String> = lines.into_iter().filter(|line| line != ABSENT && !line.is_empty()).collect();
    if said.is_empty() { ABSENT.into() } else { said.join("\n") }
}

/// `h1 ib0`.
fn interface(row: &Value, host: &str) -> String {
    format!("{} {}", text(row, host), text(row, "interface"))
}

/// `45s`, `12m`, `3h5m`, `2d7h`.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h{}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

const ABSENT: &str = "-";
const WIDTH: u16 = 100;

#[cfg(test)]
mod tests;
