//! What programs get filled, and what they free.

use std::{
    ffi::{CStr, CString, c_char, c_void},
    mem::MaybeUninit,
    ptr,
};

use ib_umad::{
    abi::{Ca, CaPair, DeviceNode, NAME, Port},
    exports::{
        buffer::{
            umad_get_mad, umad_get_mad_addr, umad_get_pkey, umad_set_addr_net, umad_set_grh,
            umad_set_grh_net, umad_set_pkey, umad_size, umad_status,
        },
        device::{
            umad_get_ca, umad_get_ca_portguids, umad_get_issm_path, umad_get_port, umad_release_ca,
            umad_release_port,
        },
        lists::{
            umad_free_ca_device_list, umad_get_ca_device_list, umad_get_cas_names,
            umad_get_smi_gsi_pair_by_ca_name, umad_sort_ca_device_list,
        },
    },
    frame::{HEADER, Header},
};

use crate::{errno, fake::adapter, lab};

fn add(name: &str, numbers: &[u8]) -> CString {
    let (device, ports) = adapter(name, numbers);
    lab().add(device, ports);
    CString::new(name).unwrap()
}

fn text(text: &[c_char]) -> String {
    // SAFETY: the tests fill nothing without a NUL.
    unsafe { CStr::from_ptr(text.as_ptr()) }.to_str().unwrap().to_owned()
}

#[test]
fn an_adapter_is_filled_and_released() {
    let name = add("adapter", &[1, 3]);
    let (device, ports) = adapter("adapter", &[1, 3]);
    let mut ca = MaybeUninit::<Ca>::uninit();
    // SAFETY: a string and room.
    assert_eq!(unsafe { umad_get_ca(name.as_ptr(), ca.as_mut_ptr()) }, 0);
    // SAFETY: it was filled.
    let mut ca = unsafe { ca.assume_init() };
    assert_eq!((text(&ca.ca_name), text(&ca.ca_type)), ("adapter".to_owned(), "ipoib".to_owned()));
    assert_eq!((text(&ca.fw_ver), text(&ca.hw_ver)), ("1.2.3".to_owned(), "b0".to_owned()));
    assert_eq!((ca.node_type, ca.numports), (1, 3));
    assert_eq!((ca.node_guid, ca.system_guid), (device.node_guid.to_be(), device.system_guid.to_be()));
    let there: Vec<bool> = ca.ports.iter().map(|port| !port.is_null()).collect();
    assert_eq!(there, [0, 1, 0, 1, 0, 0, 0, 0, 0, 0].map(|there| there == 1));
    // SAFETY: it is there, and so are its P_Keys.
    let (port, pkeys) = unsafe {
        let port = *ca.ports[3];
        (port, std::slice::from_raw_parts(port.pkeys, port.pkeys_size as usize))
    };
    assert_eq!((text(&port.ca_name), port.portnum), ("adapter".to_owned(), 3));
    assert_eq!((port.base_lid, port.lmc, port.sm_lid, port.sm_sl), (0x13, 1, 7, 2));
    assert_eq!((port.state, port.phys_state, port.rate), (4, 5, 100));
    assert_eq!(port.capmask.to_ne_bytes(), [0x02, 0x51, 0x48, 0x6a]);
    assert_eq!(port.gid_prefix, ports[1].prefix.to_be());
    assert_eq!(port.port_guid, ports[1].guid.to_be());
    assert_eq!(pkeys, [0xffff, 0x8001, 0]);
    assert_eq!(text(&port.link_layer), "InfiniBand");
    // SAFETY: it was filled, and null is allowed.
    unsafe {
        assert_eq!(umad_release_ca(&raw mut ca), 0);
        assert!(ca.ports.iter().all(|port| port.is_null()));
        assert_eq!(umad_release_ca(&raw mut ca), 0);
        assert_eq!(umad_release_ca(ptr::null_mut()), -libc::ENODEV);
        assert_eq!(umad_get_ca(name.as_ptr(), ptr::null_mut()), -libc::EINVAL);
        assert_eq!(umad_get_ca(c"nobody".as_ptr(), &raw mut ca), -libc::ENOENT);
    }
}

#[test]
fn a_port_is_filled_and_released() {
    let name = add("port", &[1, 2]);
    let mut port = MaybeUninit::<Port>::uninit();
    // SAFETY: a string, room, and what was filled.
    unsafe {
        assert_eq!(umad_get_port(name.as_ptr(), 0, port.as_mut_ptr()), 0);
        let mut port = port.assume_init();
        assert_eq!((port.portnum, port.pkeys_size), (1, 3));
        assert_eq!(umad_release_port(&raw mut port), 0);
        assert!(port.pkeys.is_null());
        assert_eq!(umad_get_port(name.as_ptr(), 3, &raw mut port), -libc::EIO);
        assert_eq!(umad_get_port(c"nobody".as_ptr(), 0, &raw mut port), -libc::ENODEV);
        assert_eq!(umad_get_port(name.as_ptr(), 1, ptr::null_mut()), -libc::EINVAL);
        assert_eq!(umad_release_port(ptr::null_mut()), -libc::ENODEV);
    }
}

#[test]
fn port_guids_are_numbered_like_the_ports() {
    let name = add("guids", &[1, 3]);
    let guids = adapter("guids", &[1, 3]).1;
    let mut room = [9; 5];
    // SAFETY: a string, and room for as many as said.
    unsafe {
        assert_eq!(umad_get_ca_portguids(name.as_ptr(), room.as_mut_ptr(), 4), 4);
        assert_eq!(room, [0, guids[0].guid.to_be(), 0, guids[1].guid.to_be(), 9]);
        assert_eq!(umad_get_ca_portguids(name.as_ptr(), room.as_mut_ptr(), 3), -libc::ENOMEM);
        assert_eq!(umad_get_ca_portguids(name.as_ptr(), ptr::null_mut(), 0), 0);
        assert_eq!(umad_get_ca_portguids(c"nobody".as_ptr(), room.as_mut_ptr(), 5), -1);
    }
}

#[test]
fn the_issm_file_is_named_as_far_as_there_is_room() {
    let name = add("issm", &[1]);
    let mut path = [9; 30];
    // SAFETY: a string, and room for as many bytes as said.
    unsafe {
        assert_eq!(umad_get_issm_path(name.as_ptr(), 1, path.as_mut_ptr(), 30), 0);
        assert_eq!(text(&path), "/run/lab/issm-issm-1");
        assert_eq!(umad_get_issm_path(name.as_ptr(), 0, path.as_mut_ptr(), 9), 0);
        assert_eq!(text(&path), "/run/lab");
        assert_eq!(umad_get_issm_path(name.as_ptr(), 2, path.as_mut_ptr(), 30), -libc::EINVAL);
        assert_eq!(umad_get_issm_path(c"nobody".as_ptr(), 0, path.as_mut_ptr(), 30), -libc::ENODEV);
    }
}

#[test]
fn names_are_listed_sorted_and_freed() {
    let (second, first) = (add("list-b", &[1]), add("list-a", &[1]));
    let mut names = [[0 as c_char; NAME]; 32];
    // SAFETY: room for as many as said.
    let count = unsafe { umad_get_cas_names(names.as_mut_ptr(), 32) };
    let names: Vec<String> = names[..usize::try_from(count).unwrap()].iter().map(|name| text(name)).collect();
    assert!(names.is_sorted() && names.contains(&"list-a".to_owned()), "{names:?}");
    // SAFETY: room for one, or none.
    unsafe {
        assert_eq!(umad_get_cas_names([[0; NAME]].as_mut_ptr(), 1), 1);
        assert_eq!(umad_get_cas_names(ptr::null_mut(), 1), -libc::EINVAL);
    }

    let head = umad_get_ca_device_list();
    assert_eq!(errno(), 0);
    let listed = listed(head);
    assert!(listed.is_sorted() && listed.contains(&"list-a".to_owned()), "{listed:?}");

    // A list out of order, of the same names.
    let mut last = DeviceNode { next: ptr::null_mut(), ca_name: first.as_ptr() };
    let mut middle = DeviceNode { next: &raw mut last, ca_name: c"list-c".as_ptr() };
    let mut own = DeviceNode { next: &raw mut middle, ca_name: second.as_ptr() };
    let mut unsorted = &raw mut own;
    // SAFETY: lists, one of which may be freed.
    unsafe {
        umad_free_ca_device_list(head);
        assert_eq!(umad_sort_ca_device_list(&raw mut unsorted, 2), 0);
        assert_eq!(self::listed(unsorted), ["list-b", "list-c", "list-a"]);
        assert_eq!(umad_sort_ca_device_list(&raw mut unsorted, 0), 0);
        assert_eq!(self::listed(unsorted), ["list-a", "list-b", "list-c"]);
        assert_ne!(umad_sort_ca_device_list(ptr::null_mut(), 0), 0);
    }
}

fn listed(mut node: *const DeviceNode) -> Vec<String> {
    let mut names = Vec::new();
    // SAFETY: a list, whose names end with NUL.
    while let Some(here) = unsafe { node.as_ref() } {
        // SAFETY: as above.
        names.push(unsafe { CStr::from_ptr(here.ca_name) }.to_str().unwrap().to_owned());
        node = here.next;
    }
    names
}

#[test]
fn a_pair_is_one_adapter_twice() {
    let name = add("pair", &[1, 2]);
    let mut pair = MaybeUninit::<CaPair>::uninit();
    // SAFETY: a string and room.
    let pair = unsafe {
        assert_eq!(umad_get_smi_gsi_pair_by_ca_name(name.as_ptr(), 2, pair.as_mut_ptr(), 1), 0);
        assert_eq!(umad_get_smi_gsi_pair_by_ca_name(name.as_ptr(), 3, ptr::null_mut(), 1), 1);
        assert_eq!(umad_get_smi_gsi_pair_by_ca_name(c"nobody".as_ptr(), 0, ptr::null_mut(), 1), 1);
        pair.assume_init()
    };
    assert_eq!((text(&pair.smi_name), text(&pair.gsi_name)), ("pair".to_owned(), "pair".to_owned()));
    assert_eq!((pair.smi_preferred_port, pair.gsi_preferred_port), (2, 2));
}

#[test]
fn a_buffer_s_header_is_set_and_read_at_any_address() {
    let mut memory = [0_u8; HEADER + 9];
    let umad: *mut c_void = memory[1..].as_mut_ptr().cast();
    let mut address = Header::default();
    address.address.hop_limit = 64;
    address.address.traffic_class = 3;
    address.address.gid_index = 5;
    address.address.gid = std::array::from_fn(|i| u8::try_from(i).unwrap());
    let mut bytes = address.to_bytes();
    bytes[52..56].copy_from_slice(&0x1_2345_u32.to_ne_bytes());
    // SAFETY: a buffer and an address.
    unsafe {
        assert_eq!(umad_set_addr_net(umad, 0x1234_u16.to_be(), 1_u32.to_be(), 5, 0x8001_0000_u32.to_be()), 0);
        assert_eq!(umad_set_grh(umad, bytes.as_mut_ptr().add(20).cast()), 0);
        assert_eq!(umad_set_pkey(umad, 0x0102), 0);
        assert_eq!(umad_get_pkey(umad), 0x0102);
        assert_eq!(umad_get_mad(umad).byte_offset_from(umad), 64);
        assert_eq!(umad_get_mad_addr(umad).byte_offset_from(umad), 20);
    }
    assert_eq!(umad_size(), 64);
    let header = Header::parse(memory[1..].first_chunk().unwrap()).address;
    assert_eq!((header.lid, header.qpn, header.sl, header.qkey), (0x1234, 1, 5, 0x8001_0000));
    assert_eq!((header.grh, header.hop_limit, header.traffic_class), (true, 64, 3));
    assert_eq!((header.gid, header.flow_label), (address.address.gid, 0x1_2345));
    assert_eq!(header.gid_index, 0, "is not taken over");

    memory[5..9].copy_from_slice(&110_u32.to_ne_bytes());
    // SAFETY: a buffer and an address, or null.
    unsafe {
        let umad: *mut c_void = memory[1..].as_mut_ptr().cast();
        assert_eq!(umad_status(umad), 110);
        assert_eq!(umad_set_grh_net(umad, bytes.as_mut_ptr().add(20).cast()), 0);
        assert_eq!(memory[1 + 52..1 + 56], 0x1_2345_u32.to_ne_bytes());
        let umad: *mut c_void = memory[1..].as_mut_ptr().cast();
        assert_eq!(umad_set_grh(umad, ptr::null_mut()), 0);
        assert_eq!(memory[1 + 32], 0);
        assert_eq!(umad_set_grh(ptr::null_mut(), ptr::null_mut()), -libc::EINVAL);
        assert!(umad_get_mad(ptr::null_mut()).is_null());
    }
}
