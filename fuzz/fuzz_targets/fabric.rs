//! See `ipoib_fuzz::fabric`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ipoib_fuzz::fabric::check(bytes));
