//! See `ipoib_fuzz::mad`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ipoib_fuzz::mad::check(bytes));
