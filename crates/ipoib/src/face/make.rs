//! Making an interface in a host.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::Result;

use super::{Face, FaceCounters, FacePlan};
use crate::os::{
    link::{LinkConfig, Netlink},
    monitor::Monitor,
    tap::Tap,
};

/// Who makes an interface, and so how long it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    /// A lab: the interface goes with it.
    Lab,
    /// A driver: the interface outlives it, and the next one takes it over as it is.
    Driver,
}

/// How long a driver waits for the one before it to let go of an interface.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes an interface in the calling thread's network namespace and sets it up; its carrier is still off.
pub(crate) fn make(plan: FacePlan, maker: Maker) -> Result<Face> {
    let (tap, is_new) = match maker {
        Maker::Lab => (Tap::create(&plan.name)?, true),
        Maker::Driver => Tap::keep(&plan.name, PATIENCE)?,
    };
    let mut netlink = Netlink::open()?;
    let index = tap.index();
    // Addresses and the way back survive `ip link set down`, as they do on a server's ib0.
    let keep = format!("/proc/sys/net/ipv6/conf/{}/keep_addr_on_down", plan.name);
    let has_ipv6 = fs::write(&keep, "1").is_ok();
    if !plan.alone {
        answer_for_itself(&plan.name);
    }
    let config = LinkConfig {
        mac: Some(plan.mac),
        mtu: is_new.then_some(plan.mtu),
        queue_len: Some(plan.queue_len),
        alias: Some(plan.hw.to_string()),
        make_link_local: Some(false),
        up: None,
    };
    netlink.configure(index, &config)?;
    let monitor = Monitor::open(index)?;
    if is_new {
        netlink.set_up(index, true)?;
        for address in plan.addresses.iter().filter(|a| a.addr.is_ipv4() || has_ipv6) {
            netlink.add_address(index, address.addr, address.prefix_len, true)?;
        }
    }
    Ok(Face {
        plan,
        tap,
        netlink,
        monitor,
        neighbors: BTreeMap::new(),
        addresses: BTreeMap::new(),
        sends: false,
        turn: 0,
        had_more: false,
        long: false,
        apart: None,
        counters: FaceCounters::default(),
    })
}

/// Interfaces on one fabric hear the same questions: each is to answer for its own addresses alone, where Linux would
/// let it answer for all its host's.
fn answer_for_itself(interface: &str) {
    for (name, value) in [("arp_ignore", "1"), ("arp_announce", "2")] {
        if let Err(error) = fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/{name}"), value) {
            tracing::warn!(interface, name, %error, "setting");
        }
    }
}
