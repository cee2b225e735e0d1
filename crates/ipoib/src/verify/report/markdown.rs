//! The table of rows as the manual has it.

use std::fmt::Write;

use super::super::row::{Promise, Row};

/// The rows, and what the release notes promise, as tables.
pub(in super::super) fn markdown(rows: &[&'static Row]) -> String {
    let mut text = String::from(
        "| Row | What holds | Programs, as typed in the hosts | Proves | Fails when |\n|---|---|---|---|---|\n",
    );
    for row in rows {
        let proves = row.proves.iter().map(|promise| promise.id()).collect::<Vec<_>>().join(", ");
        let breakers = row.breakers.iter().map(|breaker| breaker.what).collect::<Vec<_>>().join("; ");
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| **{}** {} | {} | `{}` | {} | {} |",
            row.id,
            row.title,
            cell(row.meaning),
            cell(row.command),
            proves,
            cell(&breakers)
        );
    }
    text.push_str("\n| Promise | What the release notes say | Rows |\n|---|---|---|\n");
    for promise in Promise::ALL {
        let rows: Vec<_> =
            rows.iter().filter(|row| row.proves.contains(&promise)).map(|row| row.id).collect();
        let _ = writeln!(text, "| {} | {} | {} |", promise.id(), cell(promise.meaning()), rows.join(", "));
    }
    text
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
