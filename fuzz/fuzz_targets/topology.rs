//! See `ipoib_fuzz::topology`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ipoib_fuzz::topology::check(bytes));
