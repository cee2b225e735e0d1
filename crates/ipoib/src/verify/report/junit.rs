//! JUnit's XML, as CI systems read it.

use std::{fmt::Write, time::Duration};

use super::{
    super::row::{Outcome, Verdict},
    Counts, family,
};

/// The document of a run.
pub(in super::super) fn junit(outcomes: &[Outcome], took: Duration) -> String {
    let Counts { failed, left_out, .. } = Counts::of(outcomes);
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let (all, time) = (outcomes.len(), took.as_secs_f64());
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "<testsuite name=\"ipoib verify\" tests=\"{all}\" failures=\"{failed}\" skipped=\"{left_out}\" time=\"{time:.3}\">"
    );
    for outcome in outcomes {
        let class = family(outcome.row);
        let name = escaped(&format!("{} {}", outcome.row.id, outcome.row.title));
        let time = outcome.took.as_secs_f64();
        let _ = write!(text, "  <testcase classname=\"{class}\" name=\"{name}\" time=\"{time:.3}\">");
        let _ = match &outcome.verdict {
            Verdict::Passed(figure) => write!(text, "<system-out>{}</system-out>", escaped(figure)),
            Verdict::Failed(why) => write!(text, "<failure message=\"{}\"/>", escaped(why)),
            Verdict::LeftOut(why) => write!(text, "<skipped message=\"{}\"/>", escaped(why)),
        };
        text.push_str("</testcase>\n");
    }
    text.push_str("</testsuite>\n");
    text
}

/// Text as XML may hold it; what it may not hold at all becomes a question mark.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(' '),
            c if (c as u32) < 0x20 || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::{super::super::table::ROWS, *};

    #[test]
    fn a_run_is_a_suite_and_rows_are_cases() {
        let outcome = |verdict| Outcome { row: ROWS[0], verdict, took: Duration::from_millis(1500) };
        let text = junit(
            &[
                outcome(Verdict::Passed("1 & 2".into())),
                outcome(Verdict::Failed("a \"b\" <c>\u{1b}".into())),
                outcome(Verdict::LeftOut("why".into())),
            ],
            Duration::from_secs(4),
        );
        assert!(text.contains("tests=\"3\" failures=\"1\" skipped=\"1\" time=\"4.000\""), "{text}");
        assert!(text.contains("<failure message=\"a &quot;b&quot; &lt;c&gt;?\"/>"), "{text}");
        assert!(
            text.contains("<system-out>1 &amp; 2</system-out>")
                && text.contains("<skipped message=\"why\"/>")
        );
        assert_eq!(text.matches("<testcase ").count(), text.matches("</testcase>").count());
    }
}
