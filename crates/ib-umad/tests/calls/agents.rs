//! What is registered, and what a program hears of a refusal.

use std::ptr;

use ib_umad::{
    abi::{RegAttr, USER_RMPP},
    exports::port::{umad_register, umad_register_oui, umad_register2, umad_unregister},
    protocol::Registration,
};

use crate::{errno, lab, open};

#[test]
fn an_agent_is_registered_as_asked() {
    let (fd, _far) = open("register");
    let mut mask = [0; 128 / std::ffi::c_long::BITS as usize];
    for method in [1, 2, 0x12, 0x7f] {
        mask[method / std::ffi::c_long::BITS as usize] |= 1 << (method % std::ffi::c_long::BITS as usize);
    }
    // SAFETY: 128 bits, or none.
    unsafe {
        assert_eq!(umad_register(fd, 0x03, 2, 1, mask.as_ptr()), 0);
        assert_eq!(umad_register(fd, 0x81, 1, 0, ptr::null()), 1);
        assert_eq!(umad_register(fd, 0x32, 1, 1, ptr::null()), 2);
        assert_eq!(umad_register_oui(fd, 0x4f, 1, [1, 2, 3].as_ptr(), ptr::null()), 3);
    }
    let plain = Registration { class: 0x03, class_version: 2, rmpp_version: 1, oui: None, methods: 0 };
    let expected = [
        Registration { methods: 1 << 1 | 1 << 2 | 1 << 0x12 | 1 << 0x7f, ..plain },
        Registration { class: 0x81, class_version: 1, rmpp_version: 0, ..plain },
        Registration { class: 0x32, class_version: 1, oui: Some([0x00, 0x14, 0x05]), ..plain },
        Registration { class: 0x4f, class_version: 1, oui: Some([1, 2, 3]), ..plain },
    ];
    assert_eq!(lab().registrations("register"), expected);
}

#[test]
fn attributes_say_the_same_in_another_way() {
    let (fd, _far) = open("attributes");
    let mut agent = 99;
    let sa = RegAttr {
        mgmt_class: 0x03,
        mgmt_class_version: 2,
        flags: 0,
        method_mask: [1 << 6, 1 << 1],
        oui: 0,
        rmpp_version: 1,
    };
    let vendor = RegAttr { mgmt_class: 0x30, mgmt_class_version: 1, oui: 0x0014_0500, ..sa };
    // SAFETY: attributes and room for a number, or null.
    unsafe {
        assert_eq!(umad_register2(fd, &mut { sa }, &raw mut agent), 0);
        assert_eq!(agent, 0);
        assert_eq!(umad_register2(fd, &mut RegAttr { flags: USER_RMPP, ..sa }, &raw mut agent), 0);
        assert_eq!(umad_register2(fd, &mut { vendor }, &raw mut agent), 0);
        assert_eq!(agent, 2);

        // Neither of these gets as far as the lab.
        assert_eq!(umad_register2(fd, &mut RegAttr { oui: 0, ..vendor }, &raw mut agent), libc::EINVAL);
        assert_eq!(umad_register2(fd, &mut RegAttr { oui: 1 << 24, ..vendor }, &raw mut agent), libc::EINVAL);
        assert_eq!(umad_register2(fd, ptr::null_mut(), &raw mut agent), libc::EINVAL);
        assert_eq!(umad_register2(fd, &mut { sa }, ptr::null_mut()), libc::EINVAL);
        let mut newer = RegAttr { flags: 0x10, ..sa };
        assert_eq!(umad_register2(fd, &raw mut newer, &raw mut agent), libc::EINVAL);
        assert_eq!(newer.flags, 0);
    }
    let first =
        Registration { class: 3, class_version: 2, rmpp_version: 1, oui: None, methods: 1 << 6 | 1 << 65 };
    let expected = [
        first.clone(),
        Registration { rmpp_version: 0, ..first.clone() },
        Registration { class: 0x30, class_version: 1, oui: Some([0x14, 0x05, 0x00]), ..first },
    ];
    assert_eq!(lab().registrations("attributes"), expected);
}

#[test]
fn a_refusal_is_told_as_libibumad_tells_it() {
    let (fd, _far) = open("refusal");
    lab().refuse("refusal", libc::EBUSY);
    // SAFETY: bytes and bits, or null.
    unsafe {
        assert_eq!(umad_register_oui(fd, 0x2f, 1, [1, 2, 3].as_ptr(), ptr::null()), -libc::EINVAL);
        assert_eq!(umad_register_oui(fd, 0x130, 1, [1, 2, 3].as_ptr(), ptr::null()), -libc::EINVAL);
        assert_eq!(umad_register_oui(fd, 0x30, 1, ptr::null(), ptr::null()), -libc::EINVAL);
        assert_eq!((umad_register(fd, 3, 2, 1, ptr::null()), errno()), (-libc::EPERM, libc::EBUSY));
        assert_eq!((umad_register(-1, 3, 2, 1, ptr::null()), errno()), (-libc::EPERM, libc::EBADF));
    }
    assert_eq!((umad_unregister(fd, 77), errno()), (-1, libc::EINVAL));
    assert_eq!((umad_unregister(-1, 0), errno()), (-1, libc::EBADF));
    assert!(lab().registrations("refusal").is_empty());
}

#[test]
fn an_agent_that_was_removed_sends_no_more() {
    let (fd, _far) = crate::open_with_agent("unregister");
    assert_eq!(umad_unregister(fd, 0), 0);
    assert_eq!(lab().unregistered("unregister"), [0]);
    let mut buffer = [0_u8; 64 + 256];
    // SAFETY: a buffer with a MAD.
    let sent = unsafe { ib_umad::exports::mad::umad_send(fd, 0, buffer.as_mut_ptr().cast(), 256, 0, 0) };
    assert_eq!((sent, errno()), (-libc::EIO, libc::EINVAL));
}
