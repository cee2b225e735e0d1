//! Ways that are clear are gone in one step, and so is the last hop to all members of a group at a switch: nobody can
//! tell, whatever changes between one packet and the next.

use std::time::Duration;

use ib_fabric::{Drop, LinkFault, TapFilter, topology};
use ib_wire::{
    addr::{Gid, Mtu, PKey, QKey, Qpn, Rate, ServiceLevel},
    mad::{
        AttributeId, Method, Status,
        attr::{MulticastBlock, PortState},
    },
    offload::{Checksum, Offload, SegmentKind, Segments},
    packet::GlobalRoute,
    ud::{AddressVector, QpCommand, UdSend},
};
use proptest::prelude::*;

use crate::world::{Datagram, MLID, QKEY, World, mgid};

const HOSTS: [&str; 4] = ["h1", "h2", "h3", "h4"];
const NODES: [&str; 6] = ["h1", "h2", "h3", "h4", "sw1", "sw2"];
const PARTITION: u16 = 0x8001;
const GROUP: u8 = 1;

/// Something that happens to the subnet.
#[derive(Clone, Debug)]
enum Step {
    Send { from: usize, to: usize, len: usize, sl: u8, wrong: u8, large: bool },
    Fault { link: usize, kind: u8 },
    Power { node: usize, on: bool },
    Port { node: usize, port: u8, kind: u8 },
    Keys { host: usize, other: bool },
    Cast { from: usize, len: usize, sl: u8, wrong: u8, large: bool, times: u8 },
    Member { host: usize, on: bool },
    Tree { switch: usize, mask: u16 },
    Pass { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let send = || {
        (0..4usize, 0..4usize, 0..4200usize, 0..16u8, 0..12u8, any::<bool>())
            .prop_map(|(from, to, len, sl, wrong, large)| Step::Send { from, to, len, sl, wrong, large })
    };
    let cast = || {
        (0..4usize, 0..4200usize, 0..16u8, 0..12u8, any::<bool>(), 1..4u8).prop_map(
            |(from, len, sl, wrong, large, times)| Step::Cast { from, len, sl, wrong, large, times },
        )
    };
    prop_oneof![
        6 => send(),
        6 => cast(),
        2 => (0..4usize, any::<bool>()).prop_map(|(host, on)| Step::Member { host, on }),
        1 => (0..2usize, 0..32u16).prop_map(|(switch, mask)| Step::Tree { switch, mask }),
        1 => (0..5usize, 0..5u8).prop_map(|(link, kind)| Step::Fault { link, kind }),
        1 => (1..6usize, any::<bool>()).prop_map(|(node, on)| Step::Power { node, on }),
        2 => (0..6usize, 0..9u8, 0..8u8).prop_map(|(node, port, kind)| Step::Port { node, port, kind }),
        1 => (0..4usize, any::<bool>()).prop_map(|(host, other)| Step::Keys { host, other }),
        1 => (0..30u64).prop_map(|millis| Step::Pass { millis }),
    ]
}

/// True if the subnet manager gets an answer from a port.
fn reaches(world: &mut World, node: &str, port: u8) -> bool {
    let route = world.nodes[node].route;
    let answer = world.directed(&route, Method::GET, AttributeId::PORT_INFO, port.into(), [0; 64]);
    answer.is_some_and(|(status, _)| status == Status::OK)
}

fn to_group(group: u8) -> GlobalRoute {
    let dgid = mgid(group).gid();
    GlobalRoute { sgid: Gid::ZERO, dgid, traffic_class: 0, flow_label: 0, hop_limit: 0 }
}

fn offload(large: bool) -> Offload {
    let segments = Segments { kind: SegmentKind::Tcp4, size: 600, header: 40, ecn: false };
    Offload { checksum: Checksum::Partial { start: 20, offset: 16 }, segments: large.then_some(segments) }
}

/// A subnet and the queue pairs of its hosts.
struct Scene {
    world: World,
    qps: [Qpn; 4],
}

impl Scene {
    /// If somebody looks at all links, every packet goes step by step.
    fn new(watched: bool) -> Self {
        let mut world = World::up(&topology::generate("pair").expect("a generator"));
        if watched {
            world.fabric.add_tap(TapFilter::All);
        }
        for host in HOSTS {
            world.set_pkeys(host, 0, &[0xffff, PARTITION]);
        }
        let qps = HOSTS.map(|host| world.qp(host, PARTITION));
        HOSTS.iter().zip(qps).for_each(|(host, qpn)| world.attach(host, qpn, GROUP));
        Self { world, qps }
    }

    /// Does it, and tells all that can be seen of it.
    fn play(&mut self, step: &Step) -> String {
        let world = &mut self.world;
        let mut told = String::new();
        match *step {
            Step::Send { from, to, len, sl, wrong, large } => {
                let to_qp = if wrong == 1 { Qpn::new(0x33) } else { self.qps[to] };
                let send = UdSend {
                    to: AddressVector {
                        dlid: world.lid(HOSTS[to]),
                        sl: ServiceLevel::new(sl),
                        rate: Rate::GBPS_10,
                        global: None,
                    },
                    dest_qp: to_qp,
                    qkey: if wrong == 2 { QKey(1) } else { QKEY },
                    payload: vec![7; len][..].into(),
                    offload: offload(large),
                };
                told = format!(
                    "{:?}",
                    world.fabric.post_send(world.now, world.port(HOSTS[from]), self.qps[from], send)
                );
            }
            Step::Fault { link, kind } => {
                let link = world.fabric.links().nth(link).expect("five links");
                let fault = match kind {
                    0 => LinkFault { down: true, ..LinkFault::NONE },
                    1 => LinkFault { delay: Duration::from_millis(3), ..LinkFault::NONE },
                    _ => LinkFault::NONE,
                };
                world.fabric.set_link_fault(world.now, link, fault);
            }
            Step::Power { node, on } => world.fabric.set_node_power(world.now, world.node(NODES[node]), on),
            Step::Port { node, port, kind } => self.edit(NODES[node], port, kind),
            Step::Keys { host, other } => {
                let (port, qpn) = (world.port(HOSTS[host]), self.qps[host]);
                let pkey = PKey(if other { 0xffff } else { PARTITION });
                told = format!(
                    "{:?}",
                    world.fabric.command_qp(port, qpn, QpCommand::SetKeys { pkey, qkey: QKEY })
                );
            }
            Step::Cast { from, len, sl, wrong, large, times } => {
                let group = if wrong == 1 { GROUP + 1 } else { GROUP };
                let send = UdSend {
                    to: AddressVector {
                        dlid: MLID,
                        sl: ServiceLevel::new(sl),
                        rate: Rate::GBPS_10,
                        global: Some(to_group(group)),
                    },
                    dest_qp: if wrong == 2 { self.qps[0] } else { Qpn::MULTICAST },
                    qkey: if wrong == 3 { QKey(1) } else { QKEY },
                    payload: vec![9; len][..].into(),
                    offload: offload(large),
                };
                // Several before anybody takes one.
                for _ in 0..times {
                    let (port, qpn) = (world.port(HOSTS[from]), self.qps[from]);
                    told += &format!("{:?}", world.fabric.post_send(world.now, port, qpn, send.clone()));
                }
            }
            Step::Member { host, on } => {
                let (port, qpn, mgid) = (world.port(HOSTS[host]), self.qps[host], mgid(GROUP));
                let command = if on {
                    QpCommand::Attach { mgid, mlid: MLID }
                } else {
                    QpCommand::Detach { mgid, mlid: MLID }
                };
                told = format!("{:?}", world.fabric.command_qp(port, qpn, command));
            }
            Step::Tree { switch, mask } => {
                let name = ["sw1", "sw2"][switch];
                if reaches(world, name, 0) {
                    let mut masks = MulticastBlock::default();
                    masks.0[usize::from(MLID.0 & 0x1f)] = mask;
                    world.set(name, AttributeId::MULTICAST_FORWARDING, 0, &masks.to_bytes());
                }
            }
            Step::Pass { millis } => world.pass(millis),
        }
        let world = &mut self.world;
        world.drain();
        // Each receiver's in order: who is first of several is nobody's business.
        let mut received: Vec<_> = world.received.drain(..).collect();
        received.sort_by_key(|(port, ..)| *port);
        let received: Vec<_> = received.iter().map(|datagram| format!("{datagram:?}")).collect();
        format!("{told} {received:?} {:?}", world.events.drain(..).collect::<Vec<_>>())
    }

    /// A subnet manager changes something at a port, if it reaches it.
    fn edit(&mut self, node: &str, port: u8, kind: u8) {
        let world = &mut self.world;
        if !reaches(world, node, port) {
            return;
        }
        world.edit_port(node, port, |info| match kind {
            0 => info.neighbor_mtu = Mtu::B1024,
            1 => info.neighbor_mtu = Mtu::B4096,
            2 => info.partition_enforcement_inbound = true,
            3 => info.partition_enforcement_outbound = true,
            4 => info.partition_enforcement_inbound = false,
            5 => info.operational_vls = 1,
            6 => info.state = PortState::ARMED,
            _ => info.state = PortState::ACTIVE,
        });
    }

    fn all(&self) -> serde_json::Value {
        serde_json::to_value(self.world.fabric.snapshot()).expect("plain data")
    }
}

proptest! {
    #[test]
    fn nobody_can_tell_whether_a_packet_went_in_one_step(steps in prop::collection::vec(step(), 1..60)) {
        let mut scenes = [Scene::new(false), Scene::new(true)];
        for step in &steps {
            let [plain, watched] = scenes.each_mut().map(|scene| scene.play(step));
            prop_assert_eq!(plain, watched, "{:?}", step);
        }
        let [plain, watched] = scenes.each_ref().map(Scene::all);
        prop_assert_eq!(plain, watched);
        prop_assert!(scenes[0].world.tapped.is_empty());
    }
}

#[test]
fn most_packets_of_a_quiet_subnet_arrive() {
    let mut scene = Scene::new(false);
    let send = Step::Send { from: 0, to: 3, len: 100, sl: 0, wrong: 0, large: false };
    assert!((0..3).all(|_| scene.play(&send).contains("Payload(100 bytes)")));
}

#[test]
fn what_a_manager_changes_holds_for_the_next_packet() {
    let mut scene = Scene::new(false);
    let send = Step::Send { from: 0, to: 3, len: 2000, sl: 0, wrong: 0, large: false };
    assert!(scene.play(&send).contains("Payload(2000 bytes)"));
    for port in 1..9 {
        scene.play(&Step::Port { node: 4, port, kind: 0 });
    }
    assert!(!scene.play(&send).contains("Payload"));
    assert_eq!(scene.world.dropped(Drop::NeighborMtu), 1);
}

#[test]
fn all_members_hear_everything_in_order_however_much_waits_for_them() {
    let mut scene = Scene::new(false);
    let (world, qpn) = (&mut scene.world, scene.qps[0]);
    let port = world.port("h1");
    for payload in [b"a", b"b"] {
        let to = AddressVector {
            dlid: MLID,
            sl: ServiceLevel::new(0),
            rate: Rate::GBPS_10,
            global: Some(to_group(GROUP)),
        };
        let sent = world.fabric.post_send(world.now, port, qpn, to.datagram(Qpn::MULTICAST, payload));
        assert_eq!(sent, Ok(()));
    }
    world.drain();
    let heard = world.take();
    for host in HOSTS {
        let own = heard.iter().filter(|(port, ..)| *port == world.port(host));
        assert_eq!(own.map(|(.., bytes)| &bytes[..]).collect::<Vec<_>>(), [b"a", b"b"], "{host}");
    }
}

#[test]
fn a_way_is_clear_again_when_the_last_slow_packet_is_out() {
    let mut scene = Scene::new(false);
    let send = Step::Send { from: 0, to: 3, len: 100, sl: 0, wrong: 0, large: false };
    for kind in [1, 2] {
        (0..5).for_each(|link| drop(scene.play(&Step::Fault { link, kind })));
        assert!(!scene.play(&send).contains("Payload"), "it waits, or waits behind it");
    }
    assert_eq!(scene.play(&Step::Pass { millis: 30 }).matches("Payload").count(), 2);
    assert!(scene.play(&send).contains("Payload"));
}
