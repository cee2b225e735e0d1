//! The rows: they hold, and they can fail.

use std::sync::{Mutex, PoisonError};

use crate::{ended, said, verify};

/// Both take all of a small machine.
static TURN: Mutex<()> = Mutex::new(());

/// Rows may be left out only for programs that are not free and not there.
fn none_but_netperf_is_left_out(document: &serde_json::Value) {
    let rows = document["rows"].as_array().unwrap().iter();
    for row in rows.filter(|row| row["result"] == "left out") {
        assert!(row["id"] == "T2" && row["said"].as_str().unwrap().contains("netperf"), "{row}");
    }
}

#[test]
fn all_rows_hold() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (output, document) = verify(&[]);
    assert!(output.status.success(), "{}", said(&output));
    none_but_netperf_is_left_out(&document);
    assert!(ended(&document, "ok").len() > 40, "{document:#}");
    println!("{document:#}");
}

#[test]
fn all_rows_can_fail() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (output, document) = verify(&["--broken"]);
    assert!(output.status.success(), "{}", said(&output));
    none_but_netperf_is_left_out(&document);
    println!("{document:#}");
}
