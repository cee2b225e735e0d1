//! From no link to carrier, and everything that may be missing on the way.

use ib_wire::{
    addr::{Lid, Mtu, PKey, QKey},
    mad::{
        Method, Status,
        attr::PortState,
        sa::{RecordId, mc_member_mask as mask},
    },
    ud::{PortEvent, QpCommand},
};

use crate::rig::{Rig, broadcast};

#[test]
fn the_reason_says_what_is_missing_at_every_step() {
    let mut rig = Rig::cold();
    rig.interface.handle_admin(rig.now, true);
    rig.drain();
    rig.port.state = PortState::INITIALIZE;
    rig.port_event(PortEvent::Down);
    rig.port.state = PortState::ARMED;
    rig.port_event(PortEvent::LidChange);
    rig.port.state = PortState::ACTIVE;
    rig.port_event(PortEvent::Active);
    rig.advance(10_000);
    rig.sa.mute = true;
    (rig.port.lid, rig.port.sm_lid) = (Lid(5), Lid(1));
    rig.port_event(PortEvent::SmChange);
    rig.advance(6_000);
    rig.sa.mute = false;
    rig.advance(2_000);
    let carrier: Vec<_> = rig.log.iter().filter_map(|l| l.split_once("carrier ")).map(|(_, c)| c).collect();
    assert_eq!(carrier, ["no-link", "port-init", "port-armed", "no-sm", "joining", "join-failed", "up"]);
    assert_eq!(rig.interface.carrier().to_string(), "up");
}

#[test]
fn the_broadcast_group_is_joined_as_linux_does_and_never_created() {
    let mut rig = Rig::cold();
    rig.activate();
    rig.interface.handle_admin(rig.now, true);
    rig.drain();
    let (method, mgid, bits, which) = rig.sa.memberships()[0];
    assert_eq!((method, mgid, bits), (Method::SET, broadcast(), 1));
    assert_eq!(which, mask::MGID | mask::PORT_GID | mask::P_KEY | mask::JOIN_STATE);
}

#[test]
fn its_parameters_become_the_links() {
    let mut rig = Rig::cold();
    let group = rig.sa.groups.get_mut(&broadcast()).unwrap();
    (group.0.qkey, group.0.mtu) = (QKey(0x8000_0123), Mtu::B4096);
    rig.activate();
    rig.interface.handle_admin(rig.now, true);
    rig.drain();
    let mgid = broadcast().multicast().unwrap();
    assert_eq!(
        rig.qp,
        [
            QpCommand::SetKeys { pkey: PKey::DEFAULT_FULL, qkey: QKey(0x8000_0123) },
            QpCommand::Attach { mgid, mlid: Lid(0xc000) },
        ]
    );
    let tail: Vec<_> = rig.log.iter().filter(|l| !l.contains("Group")).map(String::as_str).collect();
    assert_eq!(tail, ["0 carrier joining", "0 mtu 4092", "0 carrier up"]);
    assert_eq!(rig.snapshot().link.unwrap().ip_mtu, 4092);
}

#[test]
fn a_refused_join_is_tried_again_after_1_2_4_8_16_16_seconds() {
    let mut rig = Rig::cold();
    rig.sa.refuse = Some(Status::SA_INVALID);
    rig.activate();
    rig.interface.handle_admin(rig.now, true);
    rig.advance(80_000);
    let times: Vec<u64> = rig
        .log
        .iter()
        .filter(|l| l.contains("GroupFailed"))
        .map(|l| l.split(' ').next().unwrap().parse().unwrap())
        .collect();
    let waits: Vec<u64> = times.windows(2).map(|w| w[1] - w[0]).collect();
    for (wait, around) in waits.iter().zip([1000, 2000, 4000, 8000, 16000, 16000]) {
        assert!((around * 3 / 4..=around * 5 / 4).contains(wait), "{waits:?}");
    }
    assert!(rig.interface.carrier().to_string().contains("0x0200"), "{}", rig.interface.carrier());
    rig.sa.refuse = None;
    rig.advance(20_000);
    assert!(rig.interface.carrier().is_up());
}

#[test]
fn a_group_larger_than_the_link_is_not_joined() {
    let mut rig = Rig::cold();
    rig.port.mtu = Mtu::B1024;
    rig.activate();
    rig.interface.handle_admin(rig.now, true);
    rig.advance(1);
    assert_eq!(
        rig.interface.carrier().to_string(),
        "the broadcast group cannot be joined: the group's MTU is 2048, the port's link carries 1024"
    );
    assert!(rig.qp.is_empty());
}

#[test]
fn busy_is_asked_again() {
    let mut rig = Rig::cold();
    rig.sa.busy = 6;
    rig.activate();
    rig.interface.handle_admin(rig.now, true);
    rig.advance(30_000);
    assert!(rig.interface.carrier().is_up());
    assert_eq!((rig.snapshot().counters.sa_busy, rig.snapshot().counters.join_failures), (6, 0));
}

#[test]
fn a_limited_member_sets_the_key_it_has() {
    let mut rig = Rig::cold();
    rig.port.pkeys = vec![PKey::DEFAULT_LIMITED];
    rig.activate();
    rig.interface.handle_admin(rig.now, true);
    rig.drain();
    assert_eq!(rig.qp[0], QpCommand::SetKeys { pkey: PKey::DEFAULT_LIMITED, qkey: QKey(0x0b1b) });
}

#[test]
fn subscriptions_are_made_once_up() {
    let rig = Rig::up();
    let mut traps: Vec<u16> = rig.sa.subscribed.iter().map(|t| t.0).collect();
    traps.sort_unstable();
    assert_eq!(traps, [64, 65, 66, 67]);
}

#[test]
fn down_leaves_all_groups_and_up_again_keeps_the_address() {
    let mut rig = Rig::up();
    let (mac, addr) = (rig.interface.mac(), rig.interface.hw_addr());
    rig.interface.handle_admin(rig.now, false);
    rig.advance(100);
    assert_eq!(rig.sa.count(Method::DELETE, RecordId::MC_MEMBER), 1);
    assert_eq!(rig.qp.last(), Some(&QpCommand::Stop));
    assert_eq!(rig.interface.carrier().code(), "admin-down");
    rig.interface.handle_admin(rig.now, true);
    rig.advance(100);
    assert!(rig.interface.carrier().is_up());
    assert_eq!((rig.interface.mac(), rig.interface.hw_addr()), (mac, addr));
}
