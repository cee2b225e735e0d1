//! The two system calls that need unsafe: memory shared by processes, and many datagrams at once.
#![expect(unsafe_code, reason = "mmap and recvmmsg")]

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd},
    ptr,
};

use rustix::mm::{MapFlags, ProtFlags, mmap};

/// Memory of a file, shared with whoever maps it too, until the process ends.
pub(crate) fn map(file: &File, len: usize) -> io::Result<*mut u8> {
    // SAFETY: the kernel chooses the place, so no memory of ours is replaced.
    let memory =
        unsafe { mmap(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0) };
    Ok(memory?.cast())
}

/// Most datagrams that one call takes.
pub(crate) const BURST: usize = 64;

/// Takes datagrams from a socket, at least one, and says how many; what is in them is not kept.
pub(crate) fn receive(socket: impl AsFd) -> io::Result<usize> {
    let mut room = [0u8; 2048];
    let mut piece = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    // SAFETY: all zeros is a message header without address, pieces and control data.
    let mut messages: [libc::mmsghdr; BURST] = unsafe { std::mem::zeroed() };
    for message in &mut messages {
        message.msg_hdr.msg_iov = &raw mut piece;
        message.msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: every header names one piece of memory that lives until after the call; that all name the same is
    // no harm, for nobody reads it.
    let taken = unsafe {
        libc::recvmmsg(
            socket.as_fd().as_raw_fd(),
            messages.as_mut_ptr(),
            libc::c_uint::try_from(BURST).expect("few"),
            libc::MSG_WAITFORONE,
            ptr::null_mut(),
        )
    };
    usize::try_from(taken).map_err(|_| io::Error::last_os_error())
}
