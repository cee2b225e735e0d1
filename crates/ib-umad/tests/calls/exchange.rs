//! MADs out and in.

use std::{
    ptr,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use ib_umad::{
    exports::{
        buffer::{umad_set_addr, umad_set_pkey},
        mad::{umad_poll, umad_recv, umad_send},
    },
    frame::{self, HEADER, Header},
};

use crate::{errno, open, open_with_agent};

/// What `umad_recv` says into room for `room` bytes: its result, the length, and the buffer.
pub(crate) fn receive(fd: i32, room: usize, timeout_ms: i32) -> (i32, i32, Vec<u8>) {
    let mut buffer = vec![0xee; HEADER + room];
    let mut length = i32::try_from(room).unwrap();
    // SAFETY: a buffer of that length.
    let result = unsafe { umad_recv(fd, buffer.as_mut_ptr().cast(), &raw mut length, timeout_ms) };
    (result, length, buffer)
}

/// Sends a MAD for agent 0.
pub(crate) fn send(fd: i32, mad: &[u8]) -> i32 {
    let mut buffer = vec![0; HEADER];
    buffer.extend_from_slice(mad);
    let length = i32::try_from(mad.len()).unwrap();
    // SAFETY: a buffer with a MAD of that length.
    unsafe { umad_send(fd, 0, buffer.as_mut_ptr().cast(), length, 0, 0) }
}

fn header_of(buffer: &[u8]) -> Header {
    Header::parse(buffer.first_chunk().unwrap())
}

/// A MAD whose bytes tell where they stand.
fn mad_of(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[test]
fn a_mad_goes_out_with_what_the_program_said_about_it() {
    let (fd, mut far) = open_with_agent("out");
    let mut buffer = vec![0; HEADER];
    buffer.extend(mad_of(256));
    let umad = buffer.as_mut_ptr().cast();
    // SAFETY: a buffer with a MAD of that length.
    unsafe {
        assert_eq!(umad_set_addr(umad, 0x1234, 1, 5, 0x8001_0000_u32.cast_signed()), 0);
        assert_eq!(umad_set_pkey(umad, 3), 0);
        assert_eq!(umad_send(fd, 0, umad, 256, 200, 4), 0);
    }
    let (header, mad) = far.receive();
    assert_eq!(mad, mad_of(256));
    assert_eq!((header.agent, header.timeout_ms, header.retries), (0, 200, 4));
    let address = header.address;
    assert_eq!((address.lid, address.qpn, address.sl), (0x1234, 1, 5));
    assert_eq!((address.qkey, address.pkey_index, address.grh), (0x8001_0000, 3, false));
}

#[test]
fn what_cannot_be_sent_is_not_sent() {
    let (fd, mut far) = open_with_agent("unsendable");
    let mut buffer = [0_u8; HEADER + 256];
    let umad = buffer.as_mut_ptr().cast();
    // SAFETY: a buffer with a MAD of 256 bytes, or null.
    unsafe {
        assert_eq!((umad_send(fd, 1, umad, 256, 0, 0), errno()), (-libc::EIO, libc::EINVAL));
        assert_eq!((umad_send(fd, -1, umad, 256, 0, 0), errno()), (-libc::EIO, libc::EINVAL));
        assert_eq!((umad_send(fd, 0, umad, 35, 0, 0), errno()), (-libc::EIO, libc::EINVAL));
        assert_eq!((umad_send(fd, 0, umad, -1, 0, 0), errno()), (-libc::EIO, libc::EINVAL));
        assert_eq!((umad_send(fd, 0, ptr::null_mut(), 256, 0, 0), errno()), (-libc::EIO, libc::EINVAL));
        assert_eq!((umad_send(-1, 0, umad, 256, 0, 0), errno()), (-libc::EIO, libc::EBADF));
        assert_eq!(umad_send(fd, 0, umad, 36, 0, 0), 0);
    }
    assert_eq!(far.receive().1.len(), 36);
}

#[test]
fn a_mad_comes_in_with_its_agent_and_length() {
    let (fd, mut far) = open("in");
    let sent = Header { agent: 7, status: 0, length: 1, ..Header::default() };
    far.send(&sent, &mad_of(256));
    far.send(&Header { agent: 8, status: 110, ..sent }, &mad_of(24));
    let (agent, length, buffer) = receive(fd, 256, -1);
    assert_eq!((agent, length), (7, 256));
    assert_eq!(buffer[HEADER..], mad_of(256));
    assert_eq!(header_of(&buffer), Header { length: 320, ..sent });
    let (agent, length, buffer) = receive(fd, 256, 0);
    assert_eq!((agent, length), (8, 24));
    assert_eq!(header_of(&buffer).status, 110);
    assert_eq!(buffer[HEADER + 24], 0xee, "nothing is written behind the MAD");
}

#[test]
fn a_long_message_waits_for_a_buffer_that_holds_it() {
    let (fd, mut far) = open("long");
    let sent = Header { agent: 2, ..Header::default() };
    far.send(&sent, &mad_of(5000));
    far.send(&sent, &mad_of(256));

    let (result, length, buffer) = receive(fd, 256, -1);
    assert_eq!((result, errno(), length), (-libc::ENOSPC, libc::ENOSPC, 5000));
    assert_eq!(buffer[HEADER..], mad_of(256), "the first segment is shown");
    assert_eq!(header_of(&buffer).length, 5064);

    let (result, length, buffer) = receive(fd, 255, -1);
    assert_eq!((result, errno(), length), (-libc::EINVAL, libc::EINVAL, 5000));
    assert!(buffer.iter().all(|byte| *byte == 0xee));

    let (agent, length, buffer) = receive(fd, 5000, -1);
    assert_eq!((agent, length), (2, 5000));
    assert_eq!(buffer[HEADER..], mad_of(5000));
    assert_eq!(receive(fd, 100, -1).0, -libc::EINVAL);
    let (agent, length, _) = receive(fd, 4096, -1);
    assert_eq!((agent, length), (2, 256), "and the next one is in its place");
}

#[test]
fn a_message_longer_than_the_stream_holds_comes_through_both_ways() {
    let (fd, mut far) = open_with_agent("huge");
    const LENGTH: usize = 3 << 20;
    let sending = thread::spawn(move || {
        far.send(&Header::default(), &mad_of(LENGTH));
        far
    });
    assert_eq!(receive(fd, 256, -1).1, i32::try_from(LENGTH).unwrap());
    let (agent, _, buffer) = receive(fd, LENGTH, -1);
    assert_eq!(agent, 0);
    assert!(buffer[HEADER..] == mad_of(LENGTH));

    let mut far = sending.join().unwrap();
    let receiving = thread::spawn(move || far.receive().1);
    assert_eq!(send(fd, &mad_of(LENGTH)), 0);
    assert!(receiving.join().unwrap() == mad_of(LENGTH));
}

#[test]
fn waiting_ends_when_it_was_said_to_end() {
    let (fd, mut far) = open("waiting");
    assert_eq!((receive(fd, 256, 0).0, errno()), (-libc::EWOULDBLOCK, libc::EWOULDBLOCK));
    let start = Instant::now();
    assert_eq!((receive(fd, 256, 60).0, errno()), (-libc::ETIMEDOUT, libc::ETIMEDOUT));
    assert_eq!(umad_poll(fd, 60), -libc::ETIMEDOUT);
    assert!(start.elapsed() >= Duration::from_millis(120));
    assert_eq!(umad_poll(fd, 0), -libc::ETIMEDOUT);

    thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        far.send(&Header { agent: 4, ..Header::default() }, &mad_of(256));
        thread::sleep(Duration::from_secs(30));
    });
    assert_eq!(umad_poll(fd, -1), 0);
    assert_eq!(receive(fd, 256, -1).0, 4);
}

#[test]
fn a_frame_that_comes_in_pieces_is_received_whole() {
    let (fd, mut far) = open("pieces");
    let mut bytes = Vec::new();
    frame::write(&Header { agent: 9, ..Header::default() }, &mad_of(300), &mut bytes);
    // Prefix and header cut in two: there is no knowing yet.
    far.send_bytes(&bytes[..3]);
    assert_eq!(receive(fd, 1000, 0).0, -libc::EWOULDBLOCK);
    assert_eq!(receive(fd, 1000, 30).0, -libc::ETIMEDOUT);
    far.send_bytes(&bytes[3..40]);
    assert_eq!(receive(fd, 1000, 30).0, -libc::ETIMEDOUT);
    thread::spawn(move || {
        for piece in bytes[40..].chunks(11) {
            thread::sleep(Duration::from_millis(2));
            far.send_bytes(piece);
        }
        thread::sleep(Duration::from_secs(30));
    });
    let (agent, length, buffer) = receive(fd, 1000, -1);
    assert_eq!((agent, length), (9, 300));
    assert_eq!(buffer[HEADER..HEADER + 300], mad_of(300));
}

#[test]
fn threads_send_and_receive_at_once_and_no_frame_is_torn() {
    let (fd, mut far) = open_with_agent("threads");
    // The longest is more than the stream takes at once.
    const EACH: usize = 60;
    const LENGTHS: [usize; 3] = [256, 400_000, 40];
    let echo = thread::spawn(move || {
        for _ in 0..3 * EACH {
            let (header, mad) = far.receive();
            assert!(mad.iter().all(|byte| *byte == mad[0]), "a torn frame");
            far.send(&header, &mad);
        }
        far
    });
    let together = Barrier::new(5);
    let received = thread::scope(|scope| {
        for (thread, length) in (1..).zip(LENGTHS) {
            let together = &together;
            scope.spawn(move || {
                together.wait();
                for _ in 0..EACH {
                    assert_eq!(send(fd, &vec![thread; length]), 0);
                }
            });
        }
        let receivers = [(); 2].map(|()| {
            let together = &together;
            scope.spawn(move || {
                together.wait();
                let mut lengths = Vec::new();
                loop {
                    let (agent, length, buffer) = receive(fd, 400_000, 2000);
                    if agent == -libc::ETIMEDOUT {
                        return lengths;
                    }
                    assert_eq!(agent, 0);
                    let length = usize::try_from(length).unwrap();
                    let mad = &buffer[HEADER..HEADER + length];
                    assert!(mad.iter().all(|byte| *byte == mad[0]), "a torn frame");
                    lengths.push(length);
                }
            })
        });
        receivers.map(|receiver| receiver.join().unwrap()).concat()
    });
    drop(echo.join().unwrap());
    for length in LENGTHS {
        assert_eq!(received.iter().filter(|got| **got == length).count(), EACH);
    }
}

#[test]
fn null_is_told_and_not_followed() {
    let (fd, _far) = open("null");
    let mut length = 256;
    let mut buffer = [0_u8; HEADER + 256];
    // SAFETY: a buffer of that length, or null.
    unsafe {
        assert_eq!(umad_recv(fd, ptr::null_mut(), &raw mut length, 0), -libc::EINVAL);
        assert_eq!(umad_recv(fd, buffer.as_mut_ptr().cast(), ptr::null_mut(), 0), -libc::EINVAL);
    }
    assert_eq!(errno(), libc::EINVAL);
    assert_eq!((receive(-1, 256, 100).0, errno()), (-libc::EBADF, libc::EBADF));
}
