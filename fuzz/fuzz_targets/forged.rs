//! See `ipoib_fuzz::forged`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ipoib_fuzz::forged::check(bytes));
