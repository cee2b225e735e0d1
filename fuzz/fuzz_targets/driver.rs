//! See `ipoib_fuzz::driver`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ipoib_fuzz::driver::check(bytes));
