//! What a program does with the buffer of a MAD: 64 bytes of header, then the MAD.
//!
//! The header may stand at any address. Only null is checked for: with it nothing happens.

use std::{
    ffi::{c_int, c_void},
    ptr,
};

use rustix::io::Errno;

use super::negative;
use crate::{abi::ADDRESS, frame::HEADER};

// Places in a header, and in an address without the header before it.
const STATUS: usize = 4;
const QPN: usize = ADDRESS;
const QKEY: usize = ADDRESS + 4;
const LID: usize = ADDRESS + 8;
const SL: usize = ADDRESS + 10;
const GRH: usize = ADDRESS + 12;
const PKEY: usize = ADDRESS + 36;
const ADDRESS_HOP_LIMIT: usize = 14;
const ADDRESS_GID: usize = 16;
const ADDRESS_FLOW_LABEL: usize = 32;
const ADDRESS_END: usize = 44;

/// The MAD in a buffer.
///
/// # Safety
///
/// `umad` is null or a buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_get_mad(umad: *mut c_void) -> *mut c_void {
    umad.wrapping_byte_add(if umad.is_null() { 0 } else { HEADER })
}

/// Bytes of a header.
#[unsafe(no_mangle)]
pub extern "C" fn umad_size() -> usize {
    HEADER
}

/// The error number with which a request came back, or 0.
///
/// # Safety
///
/// `umad` is null or a buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_status(umad: *mut c_void) -> c_int {
    // SAFETY: the caller vouches for it.
    unsafe { header(umad) }.map_or(negative(Errno::INVAL), |header| number(header, STATUS).cast_signed())
}

/// The address in a buffer's header.
///
/// # Safety
///
/// `umad` is null or a buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_get_mad_addr(umad: *mut c_void) -> *mut c_void {
    umad.wrapping_byte_add(if umad.is_null() { 0 } else { ADDRESS })
}

/// Sets the destination, in the machine's order.
///
/// # Safety
///
/// `umad` is null or a buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_set_addr(
    umad: *mut c_void,
    dlid: c_int,
    dqp: c_int,
    sl: c_int,
    qkey: c_int,
) -> c_int {
    let [.., high, low] = dlid.to_be_bytes();
    let lid = u16::from_be_bytes([high, low]);
    // SAFETY: the caller vouches for it.
    unsafe {
        umad_set_addr_net(umad, lid.to_be(), dqp.cast_unsigned().to_be(), sl, qkey.cast_unsigned().to_be())
    }
}

/// Sets the destination, in network order but for the service level.
///
/// # Safety
///
/// `umad` is null or a buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_set_addr_net(
    umad: *mut c_void,
    dlid: u16,
    dqp: u32,
    sl: c_int,
    qkey: u32,
) -> c_int {
    // SAFETY: the caller vouches for it.
    let Some(header) = (unsafe { header(umad) }) else { return negative(Errno::INVAL) };
    set(header, QPN, dqp.to_ne_bytes());
    set(header, QKEY, qkey.to_ne_bytes());
    set(header, LID, dlid.to_ne_bytes());
    let [.., sl] = sl.to_be_bytes();
    set(header, SL, [sl]);
    0
}

/// Sets what a GRH is made of, with the flow label in the machine's order; without an address there will be none.
///
/// # Safety
///
/// `umad` is null or a buffer, `mad_addr` is null or an address.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_set_grh(umad: *mut c_void, mad_addr: *mut c_void) -> c_int {
    // SAFETY: the caller vouches for it.
    unsafe { set_grh(umad, mad_addr, u32::to_be) }
}

/// Sets what a GRH is made of, with the flow label in network order; without an address there will be none.
///
/// # Safety
///
/// `umad` is null or a buffer, `mad_addr` is null or an address.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_set_grh_net(umad: *mut c_void, mad_addr: *mut c_void) -> c_int {
    // SAFETY: the caller vouches for it.
    unsafe { set_grh(umad, mad_addr, |flow_label| flow_label) }
}

/// Sets the P_Key's place in the port's table.
///
/// # Safety
///
/// `umad` is null or a buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_set_pkey(umad: *mut c_void, pkey_index: c_int) -> c_int {
    // SAFETY: the caller vouches for it.
    let Some(header) = (unsafe { header(umad) }) else { return negative(Errno::INVAL) };
    let [.., high, low] = pkey_index.to_be_bytes();
    set(header, PKEY, u16::from_be_bytes([high, low]).to_ne_bytes());
    0
}

/// The P_Key's place in the port's table.
///
/// # Safety
///
/// `umad` is null or a buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_get_pkey(umad: *mut c_void) -> c_int {
    // SAFETY: the caller vouches for it.
    let Some(header) = (unsafe { header(umad) }) else { return negative(Errno::INVAL) };
    u16::from_ne_bytes([header[PKEY], header[PKEY + 1]]).into()
}

/// # Safety
///
/// As for [`umad_set_grh`].
unsafe fn set_grh(umad: *mut c_void, mad_addr: *mut c_void, flow_label: impl FnOnce(u32) -> u32) -> c_int {
    let address: Option<[u8; ADDRESS_END]> = if mad_addr.is_null() {
        None
    } else {
        // SAFETY: it is not null, and the caller vouches for the rest. It is copied, as it may be in the buffer.
        Some(unsafe { ptr::read(mad_addr.cast()) })
    };
    // SAFETY: the caller vouches for it.
    let Some(header) = (unsafe { header(umad) }) else { return negative(Errno::INVAL) };
    let Some(address) = address else {
        set(header, GRH, [0]);
        return 0;
    };
    set(header, GRH, [1]);
    let mut copy =
        |from: usize, to: usize| header[ADDRESS + from..ADDRESS + to].copy_from_slice(&address[from..to]);
    copy(ADDRESS_HOP_LIMIT, ADDRESS_GID);
    copy(ADDRESS_GID, ADDRESS_FLOW_LABEL);
    let label = flow_label(number(&address, ADDRESS_FLOW_LABEL));
    set(header, ADDRESS + ADDRESS_FLOW_LABEL, label.to_ne_bytes());
    0
}

/// # Safety
///
/// `umad` is null or a buffer that nobody else uses for `'a`.
pub(super) unsafe fn header<'a>(umad: *mut c_void) -> Option<&'a mut [u8; HEADER]> {
    // SAFETY: bytes need no alignment; the caller vouches for the rest.
    unsafe { umad.cast::<[u8; HEADER]>().as_mut() }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]))
}

pub(super) fn set<const N: usize>(header: &mut [u8; HEADER], at: usize, bytes: [u8; N]) {
    header[at..at + N].copy_from_slice(&bytes);
}
