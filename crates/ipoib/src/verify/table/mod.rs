//! All rows, in order.

mod faults;
mod flows;

use std::sync::LazyLock;

use super::row::Row;

/// The rows: flows, then faults.
pub static ROWS: LazyLock<Vec<&'static Row>> = LazyLock::new(|| {
    flows::STREAMS.iter().chain(flows::SERVICES).chain(flows::FABRIC).chain(faults::FAULTS).collect()
});

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_has_a_name_a_claim_and_something_that_breaks_it() {
        let mut names = BTreeSet::new();
        for row in ROWS.iter() {
            assert!(names.insert(row.id), "{} twice", row.id);
            assert!(!row.breakers.is_empty(), "{} cannot be seen to fail", row.id);
            assert!(
                row.breakers.iter().all(|breaker| !breaker.noticed.is_empty()),
                "{} never notices",
                row.id
            );
            assert!(row.meaning.ends_with(['.', ')']) && !row.command.is_empty(), "{}", row.id);
            assert!(row.title.chars().count() <= 34, "{}: {}", row.id, row.title);
            assert!(!row.programs.is_empty(), "{} runs nothing", row.id);
        }
    }

    #[test]
    fn every_promise_has_a_row() {
        for promise in super::super::row::Promise::ALL {
            assert!(ROWS.iter().any(|row| row.proves.contains(&promise)), "{}", promise.id());
        }
    }
}
