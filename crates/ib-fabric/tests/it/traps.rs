//! Notices from ports to the SM.

use ib_fabric::LinkFault;
use ib_wire::{
    addr::PortNum,
    mad::{
        AttributeId,
        attr::{CapabilityDetails, CapabilityMask, TrapNumber},
    },
};

use crate::world::World;

fn unplug(world: &mut World, host: &str, down: bool) {
    let link = world.fabric.link(host, PortNum(1)).expect("cabled");
    world.fabric.set_link_fault(world.now, link, LinkFault { down, ..LinkFault::NONE });
    world.drain();
}

#[test]
fn a_lost_link_is_told_until_repressed() {
    let mut world = World::star();
    unplug(&mut world, "h3", true);
    let traps = world.traps();
    assert_eq!(traps.len(), 1);
    let (from, header, notice) = traps[0];
    assert_eq!((from.lid, notice.trap), (world.lid("sw1"), TrapNumber::LINK_STATE));
    assert_eq!((notice.issuer_lid, notice.data_lid()), (world.lid("sw1"), world.lid("sw1")));

    world.pass(999);
    assert!(world.traps().is_empty());
    world.pass(1);
    assert_eq!(world.traps().len(), 1, "after one second");
    world.pass(2_000);
    let again = world.traps();
    assert_eq!(again.len(), 1, "after two more");
    assert_eq!(again[0].1.tid, header.tid, "the same one");
    world.repress(from, &header, &notice);
    world.pass(600_000);
    assert!(world.traps().is_empty());
    assert_eq!(world.fabric.poll_timeout(), None);
}

#[test]
fn what_changes_while_a_trap_waits_is_told_afterwards() {
    let mut world = World::star();
    unplug(&mut world, "h3", true);
    unplug(&mut world, "h3", false);
    let traps = world.traps();
    assert_eq!(traps.len(), 1);
    let (from, header, notice) = traps[0];
    world.repress(from, &header, &notice);
    let traps = world.traps();
    assert_eq!(traps.len(), 1, "it came back meanwhile");
    assert_ne!(traps[0].1.tid, header.tid);
    world.repress(from, &traps[0].1, &notice);
    world.pass(600_000);
    assert!(world.traps().is_empty());
}

#[test]
fn a_trap_that_cannot_reach_the_sm_waits_for_a_way() {
    let mut world = World::star();
    unplug(&mut world, "h1", true);
    world.pass(10_000);
    assert!(world.traps().is_empty());
    unplug(&mut world, "h1", false);
    world.pass(16_000);
    assert_eq!(world.traps().len(), 1);
}

#[test]
fn a_new_sm_and_a_new_description_are_told() {
    let mut world = World::star();
    let port = world.port("h2");
    world.fabric.set_is_sm(world.now, port, true);
    world.fabric.set_is_sm(world.now, port, true);
    world.drain();
    let traps = world.traps();
    assert_eq!(traps.len(), 1);
    let (from, header, notice) = traps[0];
    assert_eq!((from.lid, notice.trap), (world.lid("h2"), TrapNumber::CAPABILITY_CHANGE));
    let details = CapabilityDetails::from_bytes(&notice.data);
    assert!(details.capability_mask.has(CapabilityMask::IS_SM) && !details.other_changes);
    assert!(world.port_info("h2", 1).capability_mask.has(CapabilityMask::IS_SM));
    world.repress(from, &header, &notice);

    world.fabric.set_node_description(world.now, world.node("h2"), "h2 mlx5_0");
    world.drain();
    let traps = world.traps();
    let details = CapabilityDetails::from_bytes(&traps[0].2.data);
    assert_eq!((details.changes, details.other_changes), (CapabilityDetails::NODE_DESCRIPTION, true));
    let text = world.get("h2", AttributeId::NODE_DESCRIPTION, 0);
    assert_eq!(&text[..10], b"h2 mlx5_0\0");
}
