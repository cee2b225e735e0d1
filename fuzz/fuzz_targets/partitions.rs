//! See `ipoib_fuzz::partitions`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ipoib_fuzz::partitions::check(bytes));
