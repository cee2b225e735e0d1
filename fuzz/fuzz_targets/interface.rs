//! See `ipoib_fuzz::interface`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ipoib_fuzz::interface::check(bytes));
