//! Open ports and their agents.

use std::{
    cell::RefCell,
    ffi::{c_char, c_int, c_long},
    sync::{MutexGuard, Once},
};

use rustix::io::Errno;

use super::{guarded, negative, node, set_errno, string};
use crate::{
    abi::{RegAttr, USER_RMPP},
    client::ClientError,
    ports::{self, Table},
    protocol::Registration,
    report::{say, trace},
    select,
};

/// Opens a port, 0 for the best one, and returns the descriptor of its stream: it may be polled, but not read.
///
/// -EOPNOTSUPP outside a lab, -ENODEV if there is nothing to choose from, -EINVAL if there is no such port, -EIO if
/// the lab does not open it.
///
/// # Safety
///
/// `ca_name` is null or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_open_port(ca_name: *const c_char, portnum: c_int) -> c_int {
    // SAFETY: the caller vouches for it.
    let name = unsafe { string(ca_name) };
    let got = guarded(Err(Errno::IO), || {
        let (connection, adapters) = node().ok_or(Errno::OPNOTSUPP)?;
        let choice = select::port(&adapters, name.as_deref(), portnum).ok_or(Errno::NODEV)?;
        let (adapter, port) = choice.port().ok_or(Errno::INVAL)?;
        let stream = connection.open(&adapter.device.name, port.number).map_err(|error| {
            say(format_args!("{} port {}: {error}", adapter.device.name, port.number));
            Errno::IO
        })?;
        survive_fork();
        Ok(ports::add(connection, stream))
    });
    trace(|| format!("umad_open_port({name:?}, {portnum}) = {got:?}"));
    got.unwrap_or_else(|errno| {
        set_errno(errno.raw_os_error());
        negative(errno)
    })
}

/// Opens a port that takes SMPs, as all of ours do.
///
/// # Safety
///
/// As for [`umad_open_port`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_open_smi_port(ca_name: *const c_char, portnum: c_int) -> c_int {
    // SAFETY: the caller vouches for it.
    unsafe { umad_open_port(ca_name, portnum) }
}

/// Closes a port.
#[unsafe(no_mangle)]
pub extern "C" fn umad_close_port(fd: c_int) -> c_int {
    trace(|| format!("umad_close_port({fd})"));
    guarded(0, || {
        let port = ports::table().remove(&fd);
        drop(port);
        0
    })
}

/// The descriptor to be polled: the port itself.
#[unsafe(no_mangle)]
pub extern "C" fn umad_get_fd(fd: c_int) -> c_int {
    fd
}

/// Registers an agent and returns its number; -EPERM if the lab does not want to, and `errno` says why.
///
/// # Safety
///
/// `method_mask` is null or points to 128 bits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_register(
    fd: c_int,
    mgmt_class: c_int,
    mgmt_version: c_int,
    rmpp_version: u8,
    method_mask: *const c_long,
) -> c_int {
    let class = byte(mgmt_class);
    let registration = Registration {
        class,
        class_version: byte(mgmt_version),
        rmpp_version,
        oui: VENDOR_CLASSES.contains(&class).then_some(OPENIB),
        // SAFETY: the caller vouches for it.
        methods: unsafe { methods(method_mask) },
    };
    number_or_eperm(register(fd, registration))
}

/// Registers an agent of a vendor's class, 0x30 to 0x4f, and returns its number.
///
/// -EINVAL if the class is another, -EPERM if the lab does not want to, and `errno` says why.
///
/// # Safety
///
/// `oui` is null or points to 3 bytes, `method_mask` is null or points to 128 bits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_register_oui(
    fd: c_int,
    mgmt_class: c_int,
    rmpp_version: u8,
    oui: *const u8,
    method_mask: *const c_long,
) -> c_int {
    // SAFETY: the caller vouches for it.
    let oui = unsafe { oui.cast::<[u8; 3]>().as_ref() };
    let class = u8::try_from(mgmt_class).ok().filter(|class| VENDOR_CLASSES.contains(class));
    let (Some(class), Some(&oui)) = (class, oui) else {
        set_errno(Errno::INVAL.raw_os_error());
        return negative(Errno::INVAL);
    };
    // SAFETY: the caller vouches for it.
    let methods = unsafe { methods(method_mask) };
    let registration = Registration { class, class_version: 1, rmpp_version, oui: Some(oui), methods };
    number_or_eperm(register(fd, registration))
}

/// Registers an agent and writes its number; returns 0 or an error number, which is positive.
///
/// # Safety
///
/// `attr` is null or points to what is wanted, `agent_id` is null or points to room for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_register2(fd: c_int, attr: *mut RegAttr, agent_id: *mut u32) -> c_int {
    let invalid = Errno::INVAL.raw_os_error();
    // SAFETY: the caller vouches for both.
    let (attr, agent_id) = unsafe { (attr.as_mut(), agent_id.as_mut()) };
    let (Some(attr), Some(agent_id)) = (attr, agent_id) else { return invalid };
    let class = attr.mgmt_class;
    let [high, oui @ ..] = attr.oui.to_be_bytes();
    let vendor = VENDOR_CLASSES.contains(&class);
    if vendor && (oui == [0; 3] || high != 0) {
        return invalid;
    }
    let [low_methods, high_methods] = attr.method_mask.map(u128::from);
    let registration = Registration {
        class,
        class_version: attr.mgmt_class_version,
        rmpp_version: if attr.flags & USER_RMPP == 0 { attr.rmpp_version } else { 0 },
        oui: vendor.then_some(oui),
        methods: low_methods | high_methods << 64,
    };
    let got = if attr.flags & !USER_RMPP == 0 { register(fd, registration) } else { Err(invalid) };
    match got {
        Ok(agent) => {
            *agent_id = agent;
            0
        }
        Err(errno) => {
            if errno == invalid {
                // So libibumad says that it is the flags.
                attr.flags = 0;
            }
            set_errno(errno);
            errno
        }
    }
}

/// Removes an agent; -1 if there is none of that number, and `errno` says why.
#[unsafe(no_mangle)]
pub extern "C" fn umad_unregister(fd: c_int, agentid: c_int) -> c_int {
    let got = guarded(Err(Errno::IO.raw_os_error()), || {
        let port = ports::find(fd).map_err(Errno::raw_os_error)?;
        port.unregister(agentid.cast_unsigned()).map_err(|error| error.errno())
    });
    trace(|| format!("umad_unregister({fd}, {agentid}) = {got:?}"));
    match got {
        Ok(()) => 0,
        Err(errno) => {
            set_errno(errno);
            -1
        }
    }
}

/// Classes whose MADs name a vendor. IBA 1 §16.5.
const VENDOR_CLASSES: std::ops::RangeInclusive<u8> = 0x30..=0x4f;

/// The vendor of those that name none.
const OPENIB: [u8; 3] = [0x00, 0x14, 0x05];

fn register(fd: c_int, registration: Registration) -> Result<u32, c_int> {
    let told = format!("class {:#04x}", registration.class);
    let got = guarded(Err(ClientError::Unreadable), || {
        let Ok(port) = ports::find(fd) else { return Ok(None) };
        port.register(registration).map(Some)
    });
    trace(|| format!("umad_register({fd}, {told}) = {got:?}"));
    match got {
        Ok(Some(agent)) => Ok(agent),
        Ok(None) => Err(Errno::BADF.raw_os_error()),
        Err(error) => Err(error.errno()),
    }
}

fn number_or_eperm(got: Result<u32, c_int>) -> c_int {
    match got {
        Ok(agent) => agent.cast_signed(),
        Err(errno) => {
            set_errno(errno);
            negative(Errno::PERM)
        }
    }
}

/// The low byte, as where the number goes there is no more.
fn byte(number: c_int) -> u8 {
    let [.., low] = number.to_be_bytes();
    low
}

/// # Safety
///
/// `mask` is null or points to 128 bits.
unsafe fn methods(mask: *const c_long) -> u128 {
    if mask.is_null() {
        return 0;
    }
    const WORDS: usize = 128 / c_long::BITS as usize;
    // SAFETY: it is not null, and the caller vouches for the bits.
    let words: [c_long; WORDS] = unsafe { mask.cast::<[c_long; WORDS]>().read_unaligned() };
    words.iter().rev().fold(0, |methods, word| {
        methods.checked_shl(c_long::BITS).unwrap_or(0) | u128::from(word.cast_unsigned())
    })
}

thread_local! {
    static HELD: RefCell<Option<MutexGuard<'static, Table>>> = const { RefCell::new(None) };
}

/// Sees to it that a child of `fork` finds the table of ports whole and unlocked.
fn survive_fork() {
    extern "C" fn before() {
        let table = ports::table();
        HELD.with(|held| *held.borrow_mut() = Some(table));
    }
    extern "C" fn in_parent() {
        drop(HELD.take());
    }
    extern "C" fn in_child() {
        if let Some(mut table) = HELD.take() {
            ports::renew(&mut table);
        }
    }
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // SAFETY: the three stay where they are: a preloaded library is never unloaded. They unwind nowhere.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    });
}
