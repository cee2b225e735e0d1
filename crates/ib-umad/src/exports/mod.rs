//! The functions of libibumad, as C programs call them.
//!
//! They return what libibumad returns, with the same `errno`; a negative number is an error number of Linux. Memory
//! that a program gets is from libc's `calloc`, as it may free it itself.
#![expect(unsafe_code, reason = "the callers are C programs: pointers come in, memory goes out")]

pub mod buffer;
pub mod device;
pub mod lists;
pub mod mad;
pub mod port;

use std::{
    borrow::Cow,
    ffi::{CStr, c_char, c_int},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

use rustix::io::Errno;

use crate::{
    client::{Adapter, ClientError, Connection},
    report,
};

/// Starts with libibumad: nothing.
#[unsafe(no_mangle)]
pub extern "C" fn umad_init() -> c_int {
    report::trace(|| "umad_init()".to_owned());
    0
}

/// Ends with libibumad: nothing.
#[unsafe(no_mangle)]
pub extern "C" fn umad_done() -> c_int {
    report::trace(|| "umad_done()".to_owned());
    0
}

/// Sets how much is told on standard error, unless `level` is negative, and returns it.
#[unsafe(no_mangle)]
pub extern "C" fn umad_debug(level: c_int) -> c_int {
    if level >= 0 {
        report::set_level(level);
    }
    report::level()
}

/// A connection and the adapters seen over it; none outside a lab, which is said once.
fn node() -> Option<(Connection, Vec<Adapter>)> {
    let asked = || {
        let connection = Connection::connect()?;
        let adapters = connection.adapters()?;
        Ok((connection, adapters))
    };
    asked().inspect_err(|error: &ClientError| report::complain(error)).ok()
}

/// The adapters; none outside a lab.
fn adapters() -> Vec<Adapter> {
    node().map(|(_, adapters)| adapters).unwrap_or_default()
}

/// Does what must not unwind into C: a panic, which has told about itself, becomes `otherwise`.
fn guarded<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(otherwise)
}

/// An error number as these functions return it.
const fn negative(errno: Errno) -> c_int {
    -errno.raw_os_error()
}

fn set_errno(number: c_int) {
    // SAFETY: libc gives the place of this thread's errno, which is there as long as the thread.
    unsafe { *libc::__errno_location() = number }
}

/// A string of the caller's; none for a null pointer.
///
/// # Safety
///
/// `text` is null or ends with a NUL, and stays as it is for `'a`.
unsafe fn string<'a>(text: *const c_char) -> Option<Cow<'a, str>> {
    if text.is_null() {
        return None;
    }
    // SAFETY: it is not null, and the caller vouches for the rest.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy())
}

/// Zeroed memory for some of a type that may be all zeroes; null if there is none.
fn allocate<T>(count: usize) -> *mut T {
    // SAFETY: calloc takes any two numbers.
    unsafe { libc::calloc(count, size_of::<T>()) }.cast()
}

/// Frees what came from [`allocate`].
///
/// # Safety
///
/// `memory` is null or from `calloc`, and nobody uses it any more.
unsafe fn free<T>(memory: *mut T) {
    // SAFETY: the caller vouches for it.
    unsafe { libc::free(memory.cast()) }
}

/// Copies values to where the caller wants them.
///
/// # Safety
///
/// There is room for them at `to`.
unsafe fn put<T: Copy>(values: &[T], to: *mut T) {
    // SAFETY: the caller vouches for the room; what is ours does not overlap with it.
    unsafe { ptr::copy_nonoverlapping(values.as_ptr(), to, values.len()) }
}
