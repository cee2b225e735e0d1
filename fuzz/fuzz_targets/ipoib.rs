//! See `ipoib_fuzz::ipoib`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ipoib_fuzz::ipoib::check(bytes));
