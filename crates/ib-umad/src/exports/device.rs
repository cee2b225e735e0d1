//! Adapters and ports as they are.

use std::ffi::{c_char, c_int};

use rustix::io::Errno;

use super::{adapters, allocate, free, guarded, negative, put, set_errno, string};
use crate::{
    abi::{Ca, MAX_PORTS, Port},
    client::Adapter,
    protocol,
    report::trace,
    select,
};

/// Fills `ca` with an adapter and its ports: the one of that name, or the best.
///
/// -ENODEV if there is nothing to choose from, -ENOENT if there is none of that name.
///
/// # Safety
///
/// `ca_name` is null or a string; `ca` is null or points to room for a [`Ca`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_get_ca(ca_name: *const c_char, ca: *mut Ca) -> c_int {
    // SAFETY: the caller vouches for it.
    let name = unsafe { string(ca_name) };
    let got = guarded(Err(Errno::IO), || {
        if ca.is_null() {
            return Err(Errno::INVAL);
        }
        let node = adapters();
        let choice = select::adapter(&node, name.as_deref()).ok_or(Errno::NODEV)?;
        let adapter = choice.adapter.ok_or(Errno::NOENT)?;
        let filled = filled(adapter)?;
        // SAFETY: it is not null, and the caller vouches for the room.
        unsafe { ca.write(filled) };
        Ok(())
    });
    trace(|| format!("umad_get_ca({name:?}) = {got:?}"));
    result(got)
}

/// Frees the ports of what [`umad_get_ca`] filled.
///
/// # Safety
///
/// `ca` is null, or points to what was filled and was not released since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_release_ca(ca: *mut Ca) -> c_int {
    trace(|| "umad_release_ca()".to_owned());
    // SAFETY: the caller vouches for it.
    let Some(ca) = (unsafe { ca.as_mut() }) else { return negative(Errno::NODEV) };
    // SAFETY: the caller vouches for it.
    unsafe { release(ca) };
    0
}

/// Fills `port` with a port; port 0 stands for the best one.
///
/// -ENODEV if there is nothing to choose from, -EIO if there is no such port.
///
/// # Safety
///
/// `ca_name` is null or a string; `port` is null or points to room for a [`Port`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_get_port(ca_name: *const c_char, portnum: c_int, port: *mut Port) -> c_int {
    // SAFETY: the caller vouches for it.
    let name = unsafe { string(ca_name) };
    let got = guarded(Err(Errno::IO), || {
        if port.is_null() {
            return Err(Errno::INVAL);
        }
        let node = adapters();
        let choice = select::port(&node, name.as_deref(), portnum).ok_or(Errno::NODEV)?;
        let (adapter, found) = choice.port().ok_or(Errno::IO)?;
        let filled = filled_port(adapter, found)?;
        // SAFETY: it is not null, and the caller vouches for the room.
        unsafe { port.write(filled) };
        Ok(())
    });
    trace(|| format!("umad_get_port({name:?}, {portnum}) = {got:?}"));
    result(got)
}

/// Frees the P_Keys of what [`umad_get_port`] filled.
///
/// # Safety
///
/// `port` is null, or points to what was filled and was not released since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_release_port(port: *mut Port) -> c_int {
    trace(|| "umad_release_port()".to_owned());
    // SAFETY: the caller vouches for it.
    let Some(port) = (unsafe { port.as_mut() }) else { return negative(Errno::NODEV) };
    // SAFETY: the caller vouches for it.
    unsafe { release_port(port) };
    0
}

/// Writes the port GUIDs of an adapter by port number, 0 for a port that is not there, and returns how many.
///
/// -ENODEV if there is nothing to choose from, -1 if there is no such adapter, -ENOMEM if there is too little room.
///
/// # Safety
///
/// `ca_name` is null or a string; `portguids` is null or has room for `max` GUIDs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_get_ca_portguids(
    ca_name: *const c_char,
    portguids: *mut u64,
    max: c_int,
) -> c_int {
    // SAFETY: the caller vouches for it.
    let name = unsafe { string(ca_name) };
    let got = guarded(-1, || {
        let node = adapters();
        let Some(choice) = select::adapter(&node, name.as_deref()) else { return negative(Errno::NODEV) };
        let Some(adapter) = choice.adapter else { return -1 };
        if portguids.is_null() {
            return 0;
        }
        let mut guids = Vec::new();
        for port in shown(adapter) {
            guids.resize(guids.len().max(usize::from(port.number) + 1), 0);
            guids[usize::from(port.number)] = port.guid.to_be();
        }
        guids.resize(guids.len().max(1), 0);
        let Ok(count) = c_int::try_from(guids.len()) else { return negative(Errno::NOMEM) };
        if count > max {
            return negative(Errno::NOMEM);
        }
        // SAFETY: there is room for `max`.
        unsafe { put(&guids, portguids) };
        count
    });
    trace(|| format!("umad_get_ca_portguids({name:?}, {max}) = {got}"));
    got
}

/// Writes the path of the file that an SM holds open for its port to have the IsSM bit.
///
/// -ENODEV if there is nothing to choose from, -EINVAL if there is no such port.
///
/// # Safety
///
/// `ca_name` is null or a string; `path` is null or has room for `max` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_get_issm_path(
    ca_name: *const c_char,
    portnum: c_int,
    path: *mut c_char,
    max: c_int,
) -> c_int {
    // SAFETY: the caller vouches for it.
    let name = unsafe { string(ca_name) };
    let got = guarded(Err(Errno::IO), || {
        let node = adapters();
        let choice = select::port(&node, name.as_deref(), portnum).ok_or(Errno::NODEV)?;
        let (_, port) = choice.port().ok_or(Errno::INVAL)?;
        let room = usize::try_from(max).ok().filter(|&room| room > 0 && !path.is_null());
        let room = room.ok_or(Errno::INVAL)?;
        let mut issm: Vec<c_char> = port.issm.bytes().map(|byte| c_char::from_ne_bytes([byte])).collect();
        issm.truncate(room - 1);
        issm.push(0);
        // SAFETY: path is not null, and what is written is at most `max` long.
        unsafe { put(&issm, path) };
        Ok(())
    });
    trace(|| format!("umad_get_issm_path({name:?}, {portnum}) = {got:?}"));
    result(got)
}

fn result(result: Result<(), Errno>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(errno) => {
            set_errno(errno.raw_os_error());
            negative(errno)
        }
    }
}

/// The ports that a [`Ca`] has room for.
fn shown(adapter: &Adapter) -> impl Iterator<Item = &protocol::Port> {
    adapter.ports.iter().filter(|port| usize::from(port.number) < MAX_PORTS)
}

fn filled(adapter: &Adapter) -> Result<Ca, Errno> {
    let mut ca = Ca::new(&adapter.device);
    for found in shown(adapter) {
        let place = allocate::<Port>(1);
        let port = filled_port(adapter, found)
            .and_then(|port| if place.is_null() { Err(Errno::NOMEM) } else { Ok(port) });
        match port {
            // SAFETY: it is not null, and was allocated for one.
            Ok(port) => unsafe { place.write(port) },
            Err(errno) => {
                // SAFETY: what was filled until now is ours alone.
                unsafe {
                    free(place);
                    release(&mut ca);
                }
                return Err(errno);
            }
        }
        ca.ports[usize::from(found.number)] = place;
        ca.numports = ca.numports.max(found.number.into());
    }
    Ok(ca)
}

fn filled_port(adapter: &Adapter, found: &protocol::Port) -> Result<Port, Errno> {
    let mut port = Port::new(&adapter.device.name, found);
    port.pkeys = allocate(found.pkeys.len().max(1));
    if port.pkeys.is_null() {
        return Err(Errno::NOMEM);
    }
    // SAFETY: it is not null, and was allocated for as many.
    unsafe { put(&found.pkeys, port.pkeys) };
    port.pkeys_size = u32::try_from(found.pkeys.len()).unwrap_or(0);
    Ok(port)
}

/// # Safety
///
/// The ports are from `calloc` or null, and nobody else uses them.
unsafe fn release(ca: &mut Ca) {
    for place in &mut ca.ports {
        // SAFETY: the caller vouches for it.
        if let Some(port) = unsafe { place.as_mut() } {
            // SAFETY: the caller vouches for it.
            unsafe { release_port(port) };
        }
        // SAFETY: the caller vouches for it.
        unsafe { free(*place) };
        *place = std::ptr::null_mut();
    }
}

/// # Safety
///
/// The P_Keys are from `calloc` or null, and nobody else uses them.
unsafe fn release_port(port: &mut Port) {
    // SAFETY: the caller vouches for it.
    unsafe { free(port.pkeys) };
    port.pkeys = std::ptr::null_mut();
    port.pkeys_size = 0;
}
