//! See `ipoib_fuzz::manager`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ipoib_fuzz::manager::check(bytes));
