//! Ports that are closed, labs that are gone, processes that fork and threads that are cancelled.

use std::{
    ffi::c_void,
    mem, ptr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use ib_umad::{
    exports::{
        mad::{umad_poll, umad_recv},
        port::{umad_close_port, umad_get_fd, umad_open_port},
    },
    frame::{HEADER, Header},
};

use crate::{
    errno,
    exchange::{receive, send},
    fake::{adapter, eventually},
    lab, open, open_with_agent,
};

#[test]
fn closing_a_port_ends_both_of_its_connections() {
    let (fd, mut far) = open_with_agent("close");
    assert_eq!(umad_get_fd(fd), fd);
    // SAFETY: any number may be asked for.
    assert_eq!(unsafe { libc::fcntl(fd, libc::F_GETFD) }, libc::FD_CLOEXEC);
    assert!(!far.is_closed());
    assert_eq!(lab().ended("close"), 0);
    assert_eq!(umad_close_port(fd), 0);
    eventually(|| (far.is_closed() && lab().ended("close") == 1).then_some(()));
    assert_eq!(umad_close_port(-1), 0);
}

#[test]
fn a_descriptor_that_the_program_closed_itself_can_be_a_port_again() {
    let (device, ports) = adapter("reopen", &[1]);
    lab().add(device, ports);
    // A child has its numbers for itself: the lab and the other tests are in the parent.
    let status = in_child(|| {
        // SAFETY: a string, and numbers of our own.
        unsafe {
            let hole = libc::dup(2);
            let fd = umad_open_port(c"reopen".as_ptr(), 1);
            libc::close(fd);
            // Room for the new port's other connection, lest that one takes the number.
            libc::close(hole);
            fd > hole && umad_open_port(c"reopen".as_ptr(), 1) == fd && umad_poll(fd, 0) == -libc::ETIMEDOUT
        }
    });
    assert_eq!(status, 0, "the new port does not work");
    eventually(|| (lab().ended("reopen") == 2).then_some(()));
}

#[test]
fn a_port_without_a_lab_says_so_and_does_not_spin() {
    let (fd, mut far) = open_with_agent("gone");
    far.send(&Header { agent: 6, ..Header::default() }, &[0; 256]);
    drop(far);
    assert_eq!(receive(fd, 256, -1).0, 6, "what came before the end is received");

    let start = Instant::now();
    let (result, length, _) = receive(fd, 256, -1);
    assert_eq!((result, errno(), length), (-libc::EIO, libc::EIO, 256));
    assert!(start.elapsed() >= Duration::from_millis(900));

    let start = Instant::now();
    assert_eq!(receive(fd, 256, 50).0, -libc::EIO);
    assert_eq!(umad_poll(fd, 50), 0);
    assert!(start.elapsed() >= Duration::from_millis(100));
    assert!(start.elapsed() < Duration::from_millis(900));
    assert_eq!(receive(fd, 256, 0).0, -libc::EIO);

    // A test program takes no notice of SIGPIPE by itself.
    // SAFETY: the handler is the one that a C program begins with.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    assert_eq!((send(fd, &[0; 256]), errno()), (-libc::EIO, libc::EIO));
    assert_eq!(umad_close_port(fd), 0);
}

#[test]
fn a_stream_that_ends_in_the_middle_of_a_frame_is_a_lab_that_is_gone() {
    let (fd, mut far) = open("torn");
    let mut bytes = Vec::new();
    ib_umad::frame::write(&Header::default(), &[0; 256], &mut bytes);
    far.send_bytes(&bytes[..200]);
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        drop(far);
    });
    assert_eq!((receive(fd, 256, 100).0, errno()), (-libc::EIO, libc::EIO));

    let (fd, mut far) = open("nonsense");
    far.send_bytes(&[0xff; 100]);
    assert_eq!((receive(fd, 256, 100).0, errno()), (-libc::EIO, libc::EIO));
}

#[test]
fn a_child_goes_on_with_the_ports_and_opens_others() {
    let (fd, mut far) = open_with_agent("fork");
    let (device, ports) = adapter("child", &[1]);
    lab().add(device, ports);
    let echo = thread::spawn(move || {
        // Two frames of each of the children.
        for _ in 0..2 * CHILDREN {
            let (header, mad) = far.receive();
            far.send(&header, &mad);
        }
        far
    });
    const CHILDREN: usize = 20;
    // Other threads are at the table of ports and at the port all the time.
    let busy = AtomicBool::new(true);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while busy.load(Ordering::Relaxed) {
                    assert_eq!(umad_close_port(-5), 0);
                    // Too little room for anything: takes nothing away.
                    receive(fd, 8, 0);
                }
            });
        }
        let child = || {
            in_child(|| {
                let sent = send(fd, &[1; 256]) == 0 && send(fd, &[2; 300]) == 0;
                let received = receive(fd, 300, 5000).0 == 0 && receive(fd, 300, 5000).0 == 0;
                // SAFETY: a string.
                sent && received && unsafe { umad_open_port(c"child".as_ptr(), 1) } >= 0
            })
        };
        let failed = (0..CHILDREN).map(|_| child()).find(|status| *status != 0);
        busy.store(false, Ordering::Relaxed);
        assert_eq!(failed, None, "a child did not get through");
    });
    drop(echo.join().unwrap());
}

/// How a child ends that does this, and should find it done.
fn in_child(body: impl FnOnce() -> bool) -> i32 {
    // SAFETY: the child calls what a C program may call there, and ends without unwinding.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let done = body();
        // SAFETY: nothing of the parent's is done at the end.
        unsafe { libc::_exit(if done { 0 } else { 1 }) };
    }
    let mut status = 0;
    let end = Instant::now() + crate::fake::SOON;
    // SAFETY: our child, and room for its status.
    while unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == 0 {
        if Instant::now() > end {
            // SAFETY: our child.
            unsafe { libc::kill(child, libc::SIGKILL) };
        }
        thread::sleep(Duration::from_millis(2));
    }
    status
}

#[test]
fn a_thread_that_waits_can_be_cancelled() {
    let (fd, _far) = open("cancel");
    extern "C-unwind" fn receiver(fd: *mut c_void) -> *mut c_void {
        let fd = i32::try_from(fd.addr()).unwrap_or(-1);
        let mut buffer = [0_u8; HEADER + 256];
        let mut length = 256;
        // SAFETY: a buffer of that length.
        unsafe { umad_recv(fd, buffer.as_mut_ptr().cast(), &raw mut length, -1) };
        ptr::null_mut()
    }
    // SAFETY: a thread is cancelled in frames that own nothing; it gets a function that only says more of itself.
    let joined = unsafe {
        let receiver: extern "C-unwind" fn(*mut c_void) -> *mut c_void = receiver;
        let receiver: extern "C" fn(*mut c_void) -> *mut c_void = mem::transmute(receiver);
        let mut thread = mem::zeroed();
        let argument = ptr::without_provenance_mut(usize::try_from(fd).unwrap());
        assert_eq!(libc::pthread_create(&raw mut thread, ptr::null(), receiver, argument), 0);
        thread::sleep(Duration::from_millis(100));
        assert_eq!(libc::pthread_cancel(thread), 0);
        let mut end = mem::zeroed::<libc::timespec>();
        libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut end);
        end.tv_sec += 10;
        libc::pthread_timedjoin_np(thread, ptr::null_mut(), &raw const end)
    };
    assert_eq!(joined, 0, "the thread still waits");
}
