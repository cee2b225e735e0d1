//! Names of adapters, in the three forms that programs ask for.

use std::{
    ffi::{CStr, c_char, c_int},
    ptr,
};

use rustix::io::Errno;

use super::{adapters, allocate, free, guarded, negative, put, set_errno, string};
use crate::{
    abi::{CaPair, DeviceNode, NAME, text},
    client::Adapter,
    report::trace,
    select,
};

/// Writes up to `max` names, sorted, and returns how many; without InfiniBand 0.
///
/// # Safety
///
/// `cas` is null or has room for `max` names.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_get_cas_names(cas: *mut [c_char; NAME], max: c_int) -> c_int {
    let got = guarded(negative(Errno::IO), || {
        let Some(room) = usize::try_from(max).ok().filter(|_| !cas.is_null()) else {
            return negative(Errno::INVAL);
        };
        let names: Vec<_> = adapters().iter().filter_map(short).take(room).map(text).collect();
        // SAFETY: there is room for `max` names, and cas is not null.
        unsafe { put(&names, cas) };
        c_int::try_from(names.len()).unwrap_or(max)
    });
    trace(|| format!("umad_get_cas_names({max}) = {got}"));
    got
}

/// A list of all names, sorted, to be freed by [`umad_free_ca_device_list`]; null, with `errno` 0, if there are none.
#[unsafe(no_mangle)]
pub extern "C" fn umad_get_ca_device_list() -> *mut DeviceNode {
    let (head, errno, count) = guarded((ptr::null_mut(), Errno::IO.raw_os_error(), 0), || {
        let adapters = adapters();
        let names: Vec<&str> = adapters.iter().filter_map(short).collect();
        let mut head = ptr::null_mut();
        for name in names.iter().rev() {
            let Some(node) = device_node(name, head) else {
                // SAFETY: what was made until now is ours alone.
                unsafe { umad_free_ca_device_list(head) };
                return (ptr::null_mut(), Errno::NOMEM.raw_os_error(), 0);
            };
            head = node;
        }
        (head, 0, names.len())
    });
    trace(|| format!("umad_get_ca_device_list() = {count}"));
    set_errno(errno);
    head
}

/// Frees a list.
///
/// # Safety
///
/// `head` is null or from [`umad_get_ca_device_list`], and not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_free_ca_device_list(head: *mut DeviceNode) {
    let mut next = head;
    while !next.is_null() {
        let node = next;
        // SAFETY: it is not null, and the caller vouches for the rest.
        next = unsafe { (*node).next };
        // SAFETY: the name is in the same piece of memory, and nothing of it is used any more.
        unsafe { free(node) };
    }
}

/// Sorts a list, or as many of its first elements as `size` says, by name.
///
/// # Safety
///
/// `head` is null or points to null or to a list.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_sort_ca_device_list(head: *mut *mut DeviceNode, size: usize) -> c_int {
    guarded(Errno::NOMEM.raw_os_error(), || {
        // SAFETY: the caller vouches for it.
        let Some(head) = (unsafe { head.as_mut() }) else { return Errno::INVAL.raw_os_error() };
        let mut nodes = Vec::new();
        let mut rest = *head;
        while !rest.is_null() && (size == 0 || nodes.len() < size) {
            nodes.push(rest);
            // SAFETY: it is not null, and in the list.
            rest = unsafe { (*rest).next };
        }
        // SAFETY: each is in the list, and so has a name.
        nodes.sort_by(|&a, &b| unsafe { CStr::from_ptr((*a).ca_name).cmp(CStr::from_ptr((*b).ca_name)) });
        for &node in nodes.iter().rev() {
            // SAFETY: each is in the list, once.
            unsafe { (*node).next = rest };
            rest = node;
        }
        *head = rest;
        0
    })
}

/// Writes up to `max` adapters with their best ports, for SMPs and for other MADs, and returns how many.
///
/// # Safety
///
/// `cas` is null or has room for `max`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_get_smi_gsi_pairs(cas: *mut CaPair, max: usize) -> c_int {
    let got = guarded(-1, || {
        if cas.is_null() {
            return -1;
        }
        let adapters = adapters();
        let pairs: Vec<_> = adapters.iter().filter_map(|adapter| pair(adapter, 0)).take(max).collect();
        // SAFETY: there is room for `max`, and cas is not null.
        unsafe { put(&pairs, cas) };
        c_int::try_from(pairs.len()).unwrap_or(c_int::MAX)
    });
    trace(|| format!("umad_get_smi_gsi_pairs({max}) = {got}"));
    got
}

/// Fills `ca` with an adapter and a port, for SMPs and for other MADs; no name and port 0 stand for any.
///
/// Returns 0, or 1 if there is none. `enforce_smi` says that only one will do that takes SMPs: all of ours do.
///
/// # Safety
///
/// `devname` is null or a string; `ca` is null or points to room for a pair.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_get_smi_gsi_pair_by_ca_name(
    devname: *const c_char,
    portnum: u8,
    ca: *mut CaPair,
    _enforce_smi: u32,
) -> c_int {
    // SAFETY: the caller vouches for it.
    let name = unsafe { string(devname) };
    let got = guarded(1, || {
        let adapters = adapters();
        let mut asked =
            adapters.iter().filter(|adapter| name.as_ref().is_none_or(|name| *name == adapter.device.name));
        let Some(pair) = asked.find_map(|adapter| pair(adapter, portnum)) else { return 1 };
        // SAFETY: the caller vouches for it.
        if let Some(ca) = unsafe { ca.as_mut() } {
            *ca = pair;
        }
        0
    });
    trace(|| format!("umad_get_smi_gsi_pair_by_ca_name({name:?}, {portnum}) = {got}"));
    got
}

fn pair(adapter: &Adapter, number: u8) -> Option<CaPair> {
    let node = std::slice::from_ref(adapter);
    let choice = select::port(node, Some(&adapter.device.name), number.into())?;
    let (adapter, port) = choice.port()?;
    Some(CaPair::new(&adapter.device.name, port.number.into()))
}

/// A name, if it fits where it goes.
fn short(adapter: &Adapter) -> Option<&str> {
    let name = adapter.device.name.as_str();
    (name.len() < NAME).then_some(name)
}

/// One piece of memory: the node, and its name.
fn device_node(name: &str, next: *mut DeviceNode) -> Option<*mut DeviceNode> {
    let node: *mut DeviceNode = allocate::<u8>(size_of::<DeviceNode>() + name.len() + 1).cast();
    if node.is_null() {
        return None;
    }
    let ca_name = node.wrapping_add(1).cast::<u8>();
    // SAFETY: the memory is long enough for the node and then the name, and the NUL is there already.
    unsafe {
        put(name.as_bytes(), ca_name);
        node.write(DeviceNode { next, ca_name: ca_name.cast() });
    }
    Some(node)
}
