//! The functions as a program calls them, in this process.
#![expect(unsafe_code, reason = "they are C's")]

#[path = "../fake/mod.rs"]
mod fake;

mod agents;
mod exchange;
mod lifetime;
mod structures;

use std::{ffi::CString, io, sync::OnceLock};

use fake::{Far, Lab, NODE, adapter};
use ib_umad::{
    exports::port::{umad_open_port, umad_register},
    protocol::{NODE_VARIABLE, SOCKET_VARIABLE},
};

/// The lab of all tests; each has an adapter of its own.
fn lab() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(|| {
        let lab = Lab::start();
        // SAFETY: no test reads the environment before it was here.
        unsafe {
            std::env::set_var(SOCKET_VARIABLE, lab.path());
            std::env::set_var(NODE_VARIABLE, NODE);
        }
        lab
    })
}

/// An open port of a new adapter, and its far end.
fn open(name: &str) -> (i32, Far) {
    let (device, ports) = adapter(name, &[1]);
    lab().add(device, ports);
    let c_name = CString::new(name).unwrap();
    // SAFETY: a string.
    let fd = unsafe { umad_open_port(c_name.as_ptr(), 1) };
    assert!(fd >= 0, "umad_open_port = {fd}");
    (fd, lab().far(name))
}

/// An open port with agent 0, and its far end.
fn open_with_agent(name: &str) -> (i32, Far) {
    let (fd, far) = open(name);
    // SAFETY: no methods.
    assert_eq!(unsafe { umad_register(fd, 3, 2, 0, std::ptr::null()) }, 0);
    (fd, far)
}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}
